import { setTimeout as delay } from 'node:timers/promises'

/** Something took longer than it was given. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError'
}

/** How long something may take. */
export interface WithinOptions {
  /** Milliseconds; undefined is for ever. */
  timeoutMs?: number | undefined
  signal?: AbortSignal | undefined
  /** What is being waited for, for the error: `init of plugin "x"`. */
  what: string
}

/**
 * The result of `work`, unless it takes too long or `signal` is aborted first; then the work is left to itself.
 *
 * @throws DeadlineError, and the reason of the signal.
 */
export async function within<T>(work: Promise<T>, { timeoutMs, signal, what }: WithinOptions): Promise<T> {
  const done = new AbortController()
  const contenders: Promise<T>[] = [work]
  if (timeoutMs !== undefined) {
    contenders.push(
      delay(timeoutMs, undefined, { signal: done.signal, ref: true }).then(() => {
        throw new DeadlineError(`${what} did not finish within ${timeoutMs} ms`)
      }),
    )
  }
  if (signal !== undefined) {
    contenders.push(
      new Promise((_, reject) => {
        const abort = () => reject(signal.reason)
        if (signal.aborted) abort()
        else signal.addEventListener('abort', abort, { once: true, signal: done.signal })
      }),
    )
  }
  // What loses the race must not count as unhandled.
  for (const contender of contenders) contender.catch(() => {})
  try {
    return await Promise.race(contenders)
  } finally {
    done.abort()
  }
}
