/** Runs tasks one after the other, in the order in which they came. */
export type Mutex = <T>(task: () => Promise<T>) => Promise<T>

export function createMutex(): Mutex {
  let last: Promise<unknown> = Promise.resolve()
  let queued = 0
  return (task) => {
    // The common case starts in this very tick.
    const result = queued === 0 ? run(task) : last.then(task, task)
    queued++
    last = result.then(
      () => queued--,
      () => queued--,
    )
    return result
  }
}

async function run<T>(task: () => Promise<T>): Promise<T> {
  return task()
}
