/** Someone who waits to come in. */
interface Waiter {
  readonly exclusive: boolean
  enter(): void
}

/** Many may hold it together, or one alone. First come, first served, so that neither kind starves. */
export class SharedLock {
  #sharers = 0
  #exclusive = false
  #waiting: Waiter[] = []

  shared<T>(operation: () => Promise<T>): Promise<T> {
    return this.#run(false, operation)
  }

  /** @throws what `signal` was aborted with, while others still held the lock. */
  exclusive<T>(operation: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#run(true, operation, signal)
  }

  async #run<T>(exclusive: boolean, operation: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#waiting.length > 0 || this.#exclusive || (exclusive && this.#sharers > 0)) await this.#wait(exclusive, signal)
    else this.#enter(exclusive)
    try {
      return await operation()
    } finally {
      if (exclusive) this.#exclusive = false
      else this.#sharers--
      this.#admit()
    }
  }

  async #wait(exclusive: boolean, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    let giveUp = () => {}
    try {
      await new Promise<void>((enter, reject) => {
        const waiter = { exclusive, enter }
        giveUp = () => {
          this.#waiting = this.#waiting.filter((other) => other !== waiter)
          reject(signal?.reason)
          // Those behind it may have waited for it alone.
          this.#admit()
        }
        this.#waiting.push(waiter)
        signal?.addEventListener('abort', giveUp)
      })
    } finally {
      signal?.removeEventListener('abort', giveUp)
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
