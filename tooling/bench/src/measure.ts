/** Repeats an operation and gives back the times in milliseconds, sorted. */
export async function times(rounds: number, operation: (round: number) => Promise<void>): Promise<number[]> {
  const measured: number[] = []
  for (let round = 0; round < rounds; round++) {
    const started = performance.now()
    await operation(round)
    measured.push(performance.now() - started)
  }
  return measured.sort((a, b) => a - b)
}

export function median(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** Runs an operation `count` times, so many at once. */
export async function atOnce(width: number, count: number, operation: (n: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await operation(next++)
  }
  await Promise.all(Array.from({ length: width }, worker))
}
