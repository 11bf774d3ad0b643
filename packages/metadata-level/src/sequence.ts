import type { StoreDeps } from './deps.js'
import { schema } from './tables.js'

// Numbers are reserved in blocks, so that one durable write serves for many.
const block = 1024

/** Numbers that never come again, not even after a crash. */
export class Sequence {
  #next = 0
  #limit = 0
  #reserving: Promise<void> | undefined

  constructor(readonly deps: Pick<StoreDeps, 'update'>) {}

  async next(): Promise<number> {
    while (this.#next >= this.#limit) {
      this.#reserving ??= this.#reserve().finally(() => {
        this.#reserving = undefined
      })
      await this.#reserving
    }
    return this.#next++
  }

  async #reserve(): Promise<void> {
    const first = await this.deps.update((tx) => {
      const used = tx.get(schema, 'sequence') ?? 1
      tx.put(schema, ['sequence'], used + block)
      return used
    })
    this.#next = first
    this.#limit = first + block
  }
}
