/** What may hold garbage since the last collection. */
export class Dirty {
  /** Backends that may hold what the metadata no longer names: everything after a start, since a crash leaves things behind. */
  #content = true
  readonly #snapshotters: Set<string>
  #metadata = false

  constructor(snapshotters: Iterable<string>) {
    this.#snapshotters = new Set(snapshotters)
  }

  /** Something was deleted on which other things may have hung. */
  mark(): void {
    this.#metadata = true
  }

  markContent(): void {
    this.#metadata = true
    this.#content = true
  }

  markSnapshotter(name: string): void {
    this.#metadata = true
    this.#snapshotters.add(name)
  }

  /** True when something was deleted since the last collection. */
  get metadata(): boolean {
    return this.#metadata
  }

  clearMetadata(): void {
    this.#metadata = false
  }

  /** Gives back whether the content backend needs sweeping, and forgets it. */
  takeContent(): boolean {
    const content = this.#content
    this.#content = false
    return content
  }

  takeSnapshotters(): string[] {
    const names = [...this.#snapshotters]
    this.#snapshotters.clear()
    return names
  }
}
