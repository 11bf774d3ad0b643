/** Many may hold it together, or one alone. First come, first served, so that neither kind starves. */
export class SharedLock {
  #sharers = 0
  #exclusive = false
  readonly #waiting: { exclusive: boolean; enter: () => void }[] = []

  shared<T>(operation: () => Promise<T>): Promise<T> {
    return this.#run(false, operation)
  }

  exclusive<T>(operation: () => Promise<T>): Promise<T> {
    return this.#run(true, operation)
  }

  async #run<T>(exclusive: boolean, operation: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || this.#exclusive || (exclusive && this.#sharers > 0)) {
      await new Promise<void>((enter) => this.#waiting.push({ exclusive, enter }))
    } else this.#enter(exclusive)
    try {
      return await operation()
    } finally {
      if (exclusive) this.#exclusive = false
      else this.#sharers--
      this.#admit()
    }
  }

  #enter(exclusive: boolean): void {
    if (exclusive) this.#exclusive = true
    else this.#sharers++
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#exclusive || (next.exclusive && this.#sharers > 0)) return
      this.#waiting.shift()
      this.#enter(next.exclusive)
      next.enter()
    }
  }
}
