import { within } from '@containerd-ts/plugin'

/** Does work when its turn has come. */
export type Turns = <T>(signal: AbortSignal, work: () => Promise<T>) => Promise<T>

/** Does work when its turn has come among what has the same key. */
export type KeyedTurns = <T>(key: string, signal: AbortSignal, work: () => Promise<T>) => Promise<T>

/** Lets at most `most` run at a time, the others in the order in which they came; 0 for any number. */
export function createTurns(most: number): Turns {
  let running = 0
  const waiting = new Set<() => void>()

  function finished() {
    const [next] = waiting
    if (next === undefined) {
      running--
    } else {
      // The place is handed over.
      waiting.delete(next)
      next()
    }
  }

  return async (signal, work) => {
    signal.throwIfAborted()
    if (most > 0 && running >= most) {
      let begin = () => {}
      const place = new Promise<void>((resolve) => {
        begin = resolve
      })
      waiting.add(begin)
      try {
        await within(place, { signal, what: 'a turn' })
      } catch (error) {
        // A place that came at the same moment is for the next one.
        if (!waiting.delete(begin)) finished()
        throw error
      }
    } else {
      running++
    }
    try {
      return await work()
    } finally {
      finished()
    }
  }
}

/** One at a time for each key: what two transfers have in common is done by one of them, and the other finds it done. */
export function createKeyedTurns(): KeyedTurns {
  const last = new Map<string, Promise<unknown>>()
  return (key, signal, work) => {
    const before = last.get(key) ?? Promise.resolve()
    const mine = within(before, { signal, what: 'a turn' }).then(() => {
      signal.throwIfAborted()
      return work()
    })
    // Who gives up leaves the order as it was.
    const both = Promise.allSettled([before, mine]).then(() => {
      if (last.get(key) === both) last.delete(key)
    })
    last.set(key, both)
    return mine
  }
}
