/** A source that can be left at any time, also while it is waited for. */
export interface CancellableSource extends AsyncIterable<Uint8Array> {
  /** Lets whoever waits for bytes see the end, and closes the source; never throws. */
  close(): Promise<void>
}

/** The bytes of `source`, to be consumed once, until `signal` is aborted: then its reason is thrown, whatever the source does. */
export function cancellable(source: AsyncIterable<Uint8Array>, signal: AbortSignal): CancellableSource {
  const iterator = source[Symbol.asyncIterator]()
  type Step = IteratorResult<Uint8Array, undefined>
  let waiting: { resolve(step: Step): void; reject(reason: unknown): void } | undefined
  let closing: Promise<void> | undefined
  const end: Step = { done: true, value: undefined }

  const onAbort = () => waiting?.reject(signal.reason)
  signal.addEventListener('abort', onAbort)

  function next(): Promise<Step> {
    if (closing !== undefined) return Promise.resolve(end)
    if (signal.aborted) return Promise.reject(signal.reason)
    return new Promise<Step>((resolve, reject) => {
      waiting = { resolve, reject }
      const settled = () => {
        waiting = undefined
      }
      iterator.next().then(
        (step) => {
          settled()
          resolve(step.done ? end : step)
        },
        (error: unknown) => {
          settled()
          reject(error)
        },
      )
    })
  }

  async function leave(): Promise<void> {
    signal.removeEventListener('abort', onAbort)
    const busy = waiting !== undefined
    waiting?.resolve(end)
    const returning = Promise.resolve(iterator.return?.()).catch(() => {})
    // A generator that is at work returns after that only, which may be never.
    if (!busy) await returning
  }

  return {
    [Symbol.asyncIterator]: () => ({
      next,
      async return() {
        closing ??= leave()
        await closing
        return end
      },
    }),
    close() {
      closing ??= leave()
      return closing
    },
  }
}
