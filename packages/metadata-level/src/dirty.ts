import type { IngestRecord } from './tables.js'

/** What a backend may hold without anyone naming it: everything must be looked at, or only these. */
export interface Suspects {
  readonly all: boolean
  readonly names: ReadonlySet<string>
}

class SuspectSet {
  // After a start anything: a crash leaves things behind.
  #all = true
  #names = new Set<string>()

  add(name: string): void {
    if (!this.#all) this.#names.add(name)
  }

  addAll(): void {
    this.#all = true
  }

  get isEmpty(): boolean {
    return !this.#all && this.#names.size === 0
  }

  /** Gives back the suspects and forgets them. */
  take(): Suspects {
    const suspects = { all: this.#all, names: this.#names }
    this.#all = false
    this.#names = new Set()
    return suspects
  }
}

/** What may be garbage since the last collection. */
export class Dirty {
  readonly blobs = new SuspectSet()
  /** By their refs in the backend. */
  readonly ingests = new SuspectSet()
  /** By snapshotter; the suspects by their keys in the backend. */
  readonly snapshots: ReadonlyMap<string, SuspectSet>
  #deleted = false

  constructor(snapshotters: Iterable<string>) {
    this.snapshots = new Map([...snapshotters].map((name) => [name, new SuspectSet()]))
  }

  /** True when something was deleted, on which other things may have hung, since the last collection. */
  get deleted(): boolean {
    return this.#deleted
  }

  markDeleted(): void {
    this.#deleted = true
  }

  clearDeleted(): void {
    this.#deleted = false
  }

  addIngest({ backend, expected }: IngestRecord): void {
    this.ingests.add(backend)
    if (expected !== undefined) this.blobs.add(expected)
  }

  /** What a snapshotter that is not loaded has is looked at when it is back. */
  addSnapshot(snapshotter: string, key: string): void {
    this.snapshots.get(snapshotter)?.add(key)
  }
}
