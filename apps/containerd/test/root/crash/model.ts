/** What an object is: a text that is equal when it is the same. Undefined: it is not there. */
export type State = string | undefined

interface Known {
  acknowledged: State
  /** What it may be instead: changes of which nobody has said that they were made. */
  readonly possible: Set<State>
}

/** What a daemon has said that it keeps, by the names of the objects. */
export class Model {
  readonly #objects = new Map<string, Known>()

  /** How many objects there are. */
  get size(): number {
    return [...this.#objects.values()].filter(({ acknowledged }) => acknowledged !== undefined).length
  }

  /** The state that was last acknowledged. */
  get(name: string): State {
    return this.#objects.get(name)?.acknowledged
  }

  /** Runs a change of objects to new states; when it fails, they may be the one or the other. */
  async change<T>(changes: Readonly<Record<string, State>>, operation: () => Promise<T>): Promise<T> {
    for (const [name, state] of Object.entries(changes)) this.#known(name).possible.add(state)
    const result = await operation()
    for (const [name, state] of Object.entries(changes)) {
      const known = this.#known(name)
      known.acknowledged = state
      known.possible.clear()
    }
    return result
  }

  /** Says what was acknowledged and is not there. */
  missing(actual: ReadonlyMap<string, string>): string[] {
    return [...this.#objects].flatMap(([name, known]) =>
      known.acknowledged === undefined || this.#isAllowed(known, actual.get(name))
        ? []
        : [this.#difference(name, actual.get(name))],
    )
  }

  /** Says what differs between what is there and what has to be, and takes what is there as what was acknowledged. */
  compare(actual: ReadonlyMap<string, string>): string[] {
    const differences: string[] = []
    for (const name of new Set([...actual.keys(), ...this.#objects.keys()])) {
      const known = this.#known(name)
      const found = actual.get(name)
      if (!this.#isAllowed(known, found)) differences.push(this.#difference(name, found))
      known.acknowledged = found
      known.possible.clear()
    }
    for (const [name, { acknowledged }] of this.#objects) if (acknowledged === undefined) this.#objects.delete(name)
    return differences
  }

  /** An unfinished write, which is a number of bytes, may also be half way to the next state. */
  #isAllowed({ acknowledged, possible }: Known, found: State): boolean {
    if (found === acknowledged || possible.has(found)) return true
    const [from, at] = [Number(acknowledged), Number(found)]
    return [...possible].some((state) => from <= at && at <= Number(state))
  }

  #difference(name: string, found: State): string {
    const { acknowledged, possible } = this.#known(name)
    return `${name} is ${found}, not ${[acknowledged, ...possible].join(' or ')}`
  }

  #known(name: string): Known {
    let known = this.#objects.get(name)
    if (known === undefined) {
      known = { acknowledged: undefined, possible: new Set() }
      this.#objects.set(name, known)
    }
    return known
  }
}
