/**
 * Puts objects in an order in which each comes before everything that it refers to, as far as the references are not circular. Whoever
 * removes them in this order leaves nothing behind at any moment whose references lead nowhere.
 *
 * The steps are for pausing in between; the result is complete after the last one.
 */
export class ReferrersFirst {
  readonly #order: string[] = []

  constructor(
    readonly keys: ReadonlySet<string>,
    readonly referencesOf: (key: string) => Iterable<{ readonly key: string }>,
  ) {}

  /** Finds the order: what is visited last in depth comes first. */
  *steps(): Iterable<void> {
    const seen = new Set<string>()
    for (const start of this.keys) {
      if (seen.has(start)) continue
      seen.add(start)
      const path = [this.#visit(start)]
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const { done, value } = top.references.next()
        yield
        if (done) {
          this.#order.push(top.key)
          path.pop()
        } else if (this.keys.has(value.key) && !seen.has(value.key)) {
          seen.add(value.key)
          path.push(this.#visit(value.key))
        }
      }
    }
    this.#order.reverse()
  }

  #visit(key: string) {
    return { key, references: this.referencesOf(key)[Symbol.iterator]() }
  }

  get order(): readonly string[] {
    return this.#order
  }
}
