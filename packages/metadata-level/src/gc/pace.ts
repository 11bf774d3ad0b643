// As long as one piece of work may keep everything else waiting.
const sliceMs = 1

/** Does long work in slices, between which everything else has its turn, and adds up the time that it took. */
export class Pace {
  busyMs = 0

  async run(steps: Iterable<void>): Promise<void> {
    let started = performance.now()
    let count = 0
    for (const _ of steps) {
      if (++count % 64 !== 0 || performance.now() - started < sliceMs) continue
      this.busyMs += performance.now() - started
      await new Promise((resolve) => setImmediate(resolve))
      started = performance.now()
    }
    this.busyMs += performance.now() - started
  }

  /** Does work that cannot be interrupted. */
  runAtOnce<T>(work: () => T): T {
    const started = performance.now()
    try {
      return work()
    } finally {
      this.busyMs += performance.now() - started
    }
  }
}
