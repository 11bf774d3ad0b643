// Small enough that inserting moves little memory, large enough that there are few chunks.
const maxChunk = 512

/** Values by key, and in the order of their keys. */
export class SortedMap<V extends { readonly key: string }> {
  readonly #values = new Map<string, V>()
  /** Sorted and never empty, except for the only chunk of an empty map. */
  readonly #chunks: V[][] = [[]]

  get(key: string): V | undefined {
    return this.#values.get(key)
  }

  set(value: V): void {
    const replaces = this.#values.has(value.key)
    this.#values.set(value.key, value)
    const index = this.#chunkOf(value.key)
    const chunk = this.#chunks[index] ?? []
    const position = lowerBound(chunk, value.key)
    if (replaces) {
      chunk[position] = value
      return
    }
    if (position === chunk.length) chunk.push(value)
    else chunk.splice(position, 0, value)
    if (chunk.length > maxChunk) {
      // Loading comes in order: a full last chunk is left full.
      const half = index === this.#chunks.length - 1 && position === chunk.length - 1 ? maxChunk : maxChunk / 2
      this.#chunks.splice(index + 1, 0, chunk.splice(half))
    }
  }

  delete(key: string): void {
    if (!this.#values.delete(key)) return
    const index = this.#chunkOf(key)
    const chunk = this.#chunks[index] ?? []
    chunk.splice(lowerBound(chunk, key), 1)
    if (chunk.length === 0 && this.#chunks.length > 1) this.#chunks.splice(index, 1)
  }

  /** The values whose keys begin with `prefix`, as they are now, in order. */
  range(prefix: string): V[] {
    const found: V[] = []
    const first = this.#chunkOf(prefix)
    for (const [index, chunk] of this.#chunks.slice(first).entries()) {
      for (const value of index === 0 ? chunk.slice(lowerBound(chunk, prefix)) : chunk) {
        if (!value.key.startsWith(prefix)) return found
        found.push(value)
      }
    }
    return found
  }

  /** The last chunk that begins at or before `key`. */
  #chunkOf(key: string): number {
    let low = 0
    let high = this.#chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      const first = this.#chunks[middle]?.[0]
      if (first !== undefined && first.key <= key) low = middle
      else high = middle - 1
    }
    return low
  }
}

function lowerBound(chunk: readonly { readonly key: string }[], key: string): number {
  let low = 0
  let high = chunk.length
  while (low < high) {
    const middle = (low + high) >> 1
    const value = chunk[middle]
    if (value !== undefined && value.key < key) low = middle + 1
    else high = middle
  }
  return low
}
