/** Waits `ms` milliseconds. @throws the signal's reason when it is aborted meanwhile. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await untilAborted(signal, (done) => {
    const timer = setTimeout(done, ms)
    return () => clearTimeout(timer)
  })
}

/** The outcome of `promise`, or the signal's reason as soon as it is aborted. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let outcome: (() => T) | undefined
  await untilAborted(signal, (done) => {
    promise.then(
      (value) => {
        outcome = () => value
        done()
      },
      (error) => {
        outcome = () => {
          throw error
        }
        done()
      },
    )
    return () => {}
  })
  if (outcome === undefined) throw signal.reason
  return outcome()
}

// `start` is given what ends the waiting and gives back what takes it down.
function untilAborted(signal: AbortSignal, start: (done: () => void) => () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const onAbort = () => {
      stop()
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    const stop = start(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
  })
}
