const leastMs = 200

/** One line about long work on a terminal, over and over; nothing where standard error is none. */
export function progressLine(): { show(text: string): void; clear(): void } {
  let shownAt = 0
  return {
    show(text) {
      if (process.stderr.isTTY !== true || performance.now() - shownAt < leastMs) return
      shownAt = performance.now()
      process.stderr.write(`\r\u001b[K${text}`)
    },
    clear() {
      if (shownAt > 0) process.stderr.write('\r\u001b[K')
    },
  }
}
