// Reading the clock takes as long as some steps do.
const stepsPerLook = 64

/** Does long work in slices, between which everything else has its turn, and adds up the time that it took. */
export class Pace {
  busyMs = 0

  /** `sliceMs` is as long as everything else may be kept waiting; 0 pauses after every step, for tests. */
  constructor(readonly sliceMs = 1) {}

  /** Begins a slice; the result says whether there is time left in it. */
  slice(): () => boolean {
    const started = performance.now()
    return () => performance.now() - started < this.sliceMs
  }

  async run(steps: Iterable<void>): Promise<void> {
    let started = performance.now()
    let count = 0
    for (const _ of steps) {
      if (this.sliceMs > 0 && (++count % stepsPerLook !== 0 || performance.now() - started < this.sliceMs)) continue
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

/** For a loop over much: whenever `isOver`, the others have their turn while it awaits `pass()`. */
export class Turns {
  #started = performance.now()
  #count = 0

  get isOver(): boolean {
    return ++this.#count % stepsPerLook === 0 && performance.now() - this.#started > 1
  }

  async pass(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#started = performance.now()
  }
}
