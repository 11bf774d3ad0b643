/** Runs operations alone among those that share one of their keys. */
export class KeyedMutex {
  readonly #last = new Map<string, Promise<unknown>>()

  async run<T>(keys: readonly string[], operation: () => Promise<T>): Promise<T> {
    const before = keys.map((key) => this.#last.get(key))
    const result = before.some((other) => other !== undefined) ? Promise.all(before).then(operation) : operation()
    // All keys are taken at once, so nobody waits for each other in a circle.
    const settled = result.then(
      () => {},
      () => {},
    )
    for (const key of keys) this.#last.set(key, settled)
    try {
      return await result
    } finally {
      for (const key of keys) if (this.#last.get(key) === settled) this.#last.delete(key)
    }
  }
}
