/** Names of things whose removal was ordered and is not known to be over. */
export class Limbo {
  readonly #removals = new Map<string, Promise<void>>()

  has(name: string): boolean {
    return this.#removals.has(name)
  }

  /** Counts a name as uncertain until its removal has ended, one way or the other; gives the removal back. */
  hold(name: string, removal: Promise<void>): Promise<void> {
    const held = removal.finally(() => {
      if (this.#removals.get(name) === held) this.#removals.delete(name)
    })
    this.#removals.set(name, held)
    return held
  }
}
