import type { Shim } from './shim-pool.js'

/**
 * Counts who uses which shim. A shim that serves a whole namespace is found here without starting anything, and ended when it has had
 * nothing to do for a while; any other shim is ended with its last task.
 */
export interface ShimUse {
  /** The living shim of a namespace, or what `start` makes; concurrent callers of a namespace start one. Counts as a use. */
  resident(namespace: string, start: () => Promise<Shim>): Promise<Shim>
  /** Counts a use of a shim. */
  enter(shim: Shim): Shim
  /** Ends a use. Settles, for the last use of a shim that is not kept, when the shim has ended. */
  leave(shim: Shim): Promise<void>
  /** How many shims serve a namespace, and how many of them have nothing to do. */
  counts(): { residents: number; idle: number }
  /** Ends the shims that have nothing to do; the others go on. */
  close(): Promise<void>
}

export function createShimUse(idleMs: number, end: (shim: Shim) => Promise<void>): ShimUse {
  const residents = new Map<string, Promise<Shim>>()
  const kept = new Set<Shim>()
  const idle = new Map<Shim, NodeJS.Timeout>()
  const ending = new Map<string, Promise<void>>()

  const enter = (shim: Shim): Shim => {
    shim.users++
    clearTimeout(idle.get(shim))
    idle.delete(shim)
    return shim
  }

  const keep = (namespace: string, starting: Promise<Shim>): void => {
    residents.set(namespace, starting)
    const forget = () => {
      if (residents.get(namespace) === starting) residents.delete(namespace)
    }
    starting.then((shim) => {
      kept.add(shim)
      void shim.closed.then(() => {
        kept.delete(shim)
        clearTimeout(idle.get(shim))
        idle.delete(shim)
        forget()
      })
    }, forget)
  }

  const retire = async (shim: Shim): Promise<void> => {
    idle.delete(shim)
    // Whoever needs a shim from here on waits until this one is gone, and starts another.
    const gone = end(shim)
    ending.set(shim.namespace, gone)
    await gone
    if (ending.get(shim.namespace) === gone) ending.delete(shim.namespace)
  }

  return {
    enter,
    resident: async (namespace, start) => {
      for (;;) {
        const retiring = ending.get(namespace)
        if (retiring !== undefined) {
          await retiring
          continue
        }
        if (!residents.has(namespace)) keep(namespace, start())
        const shim = await residents.get(namespace)
        if (shim === undefined) continue
        if (!shim.isClosed && !ending.has(namespace)) return enter(shim)
        await shim.closed
      }
    },
    leave: async (shim) => {
      shim.users--
      if (shim.users > 0 || shim.isClosed) return
      if (!kept.has(shim)) return end(shim)
      idle.set(shim, setTimeout(() => void retire(shim), idleMs).unref())
    },
    counts: () => ({ residents: residents.size, idle: idle.size }),
    close: async () => {
      for (const timer of idle.values()) clearTimeout(timer)
      await Promise.all([...idle.keys()].map(retire))
    },
  }
}
