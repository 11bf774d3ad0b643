// Small enough that inserting moves little memory, large enough that there are few chunks.
const maxChunk = 512

/** Values in the order of their keys. Changed in place unless a snapshot may be looking at it. */
interface Chunk<V> {
  readonly values: V[]
  /** The generation of the map in which it was made. */
  readonly generation: number
}

/** Values by key, and in the order of their keys. */
export class SortedMap<V extends { readonly key: string }> {
  readonly #values = new Map<string, V>()
  /** In order and never empty, except for the only chunk of an empty map. */
  readonly #chunks: Chunk<V>[] = [{ values: [], generation: 0 }]
  /** Counts the snapshots: what was made before the last one is copied before it is changed. */
  #generation = 0

  get size(): number {
    return this.#values.size
  }

  get(key: string): V | undefined {
    return this.#values.get(key)
  }

  set(value: V): void {
    const replaces = this.#values.has(value.key)
    this.#values.set(value.key, value)
    const index = this.#chunkOf(value.key)
    const { values } = this.#writable(index)
    const position = lowerBound(values, value.key)
    if (replaces) {
      values[position] = value
      return
    }
    if (position === values.length) values.push(value)
    else values.splice(position, 0, value)
    if (values.length > maxChunk) {
      // Loading comes in order: a full last chunk is left full.
      const half = index === this.#chunks.length - 1 && position === values.length - 1 ? maxChunk : maxChunk / 2
      this.#chunks.splice(index + 1, 0, { values: values.splice(half), generation: this.#generation })
    }
  }

  delete(key: string): void {
    if (!this.#values.delete(key)) return
    const index = this.#chunkOf(key)
    const { values } = this.#writable(index)
    values.splice(lowerBound(values, key), 1)
    if (values.length === 0 && this.#chunks.length > 1) this.#chunks.splice(index, 1)
  }

  /** The values whose keys begin with `prefix`, as they are now, in order. */
  range(prefix: string): V[] {
    return [...within(this.#covering(prefix), prefix)]
  }

  /**
   * As `range`, for walking through at leisure: nothing is copied now, and what changes meanwhile is not seen. The price is that a chunk
   * is copied when it is changed for the first time after this.
   */
  snapshot(prefix: string): Iterable<V> {
    const chunks = this.#covering(prefix)
    this.#generation++
    return { [Symbol.iterator]: () => within(chunks, prefix) }
  }

  #covering(prefix: string): Chunk<V>[] {
    // Keys are bytes, so none begins with a larger character.
    return this.#chunks.slice(this.#chunkOf(prefix), this.#chunkOf(`${prefix}\uffff`) + 1)
  }

  /** The chunk at `index`, not shared with any snapshot. */
  #writable(index: number): Chunk<V> {
    const chunk = this.#chunks[index] ?? { values: [], generation: -1 }
    if (chunk.generation === this.#generation) return chunk
    const copy = { values: [...chunk.values], generation: this.#generation }
    this.#chunks[index] = copy
    return copy
  }

  /** The last chunk that begins at or before `key`. */
  #chunkOf(key: string): number {
    let low = 0
    let high = this.#chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      const first = this.#chunks[middle]?.values[0]
      if (first !== undefined && first.key <= key) low = middle
      else high = middle - 1
    }
    return low
  }
}

function* within<V extends { readonly key: string }>(chunks: readonly Chunk<V>[], prefix: string): Generator<V, void> {
  for (const [index, { values }] of chunks.entries()) {
    for (let at = index === 0 ? lowerBound(values, prefix) : 0; at < values.length; at++) {
      const value = values[at]
      if (value === undefined || !value.key.startsWith(prefix)) return
      yield value
    }
  }
}

function lowerBound(values: readonly { readonly key: string }[], key: string): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >> 1
    const value = values[middle]
    if (value !== undefined && value.key < key) low = middle + 1
    else high = middle
  }
  return low
}
