import type { Container, Labels } from '@containerd-ts/interface'
import type { Entry, View } from '../database.js'
import { composeKey, splitKey } from '../key.js'
import {
  type ContentRecord,
  containers,
  contents,
  type ImageRecord,
  type IngestRecord,
  images,
  ingests,
  type LeaseRecord,
  leases,
  resources,
  type SnapshotRecord,
  snapshots,
} from '../tables.js'
import { type Condition, conditionsOf, holds } from './conditions.js'
import { backReferences, flatLabel, isExpired, isRoot, references } from './labels.js'

/** What is read to find out what is kept. */
export interface Population {
  leases: readonly Entry<LeaseRecord>[]
  resources: readonly Entry<true>[]
  images: readonly Entry<ImageRecord>[]
  containers: readonly Entry<Container>[]
  contents: readonly Entry<ContentRecord>[]
  snapshots: readonly Entry<SnapshotRecord>[]
  ingests: readonly Entry<IngestRecord>[]
}

export function populationOf(view: View): Population {
  return {
    leases: view.list(leases),
    resources: view.list(resources),
    images: view.list(images),
    containers: view.list(containers),
    contents: view.list(contents),
    snapshots: view.list(snapshots),
    ingests: view.list(ingests),
  }
}

/**
 * Finds what is kept: roots are added, then references are followed from everything found.
 *
 * A flat lease keeps what it lists in a flat way: parents of snapshots and targets of images with it, but nothing that labels name.
 * What is found in both ways is found in the full way.
 */
export class Marker {
  readonly #full = new Set<string>()
  readonly #flat = new Set<string>()
  readonly #queue: { key: string; flat: boolean }[] = []
  /** What lives as long as the object with this key does. */
  readonly #dependants = new Map<string, string[]>()
  readonly #conditional = new Map<string, { key: string; condition: Condition }[]>()

  constructor(readonly nowMs: number) {}

  isKept(key: string): boolean {
    return this.#full.has(key) || this.#flat.has(key)
  }

  keep(key: string, flat = false): void {
    if (this.#full.has(key) || (flat && this.#flat.has(key))) return
    const set = flat ? this.#flat : this.#full
    set.add(key)
    this.#queue.push({ key, flat })
  }

  /** Adds the roots among all objects, and learns who lives through whom. The steps are for pausing in between. */
  *addRoots(all: Population): Iterable<void> {
    const flatness = new Map<string, boolean>()
    for (const { key, id, record } of all.leases) {
      if (isExpired(record.labels, this.nowMs)) continue
      this.keep(key)
      flatness.set(composeKey(...id), flatLabel in record.labels)
      yield
    }
    for (const { id } of all.resources) {
      const [namespace = '', lease = '', type = '', resource = ''] = id
      const flat = flatness.get(composeKey(namespace, lease))
      if (flat !== undefined) this.keep(resourceKey(namespace, type, resource), flat)
      yield
    }
    for (const { key, id, record } of all.images) {
      this.#learn(key, id, record.labels)
      if (!isExpired(record.labels, this.nowMs)) this.keep(key)
      yield
    }
    for (const { key } of all.containers) {
      this.keep(key)
      yield
    }
    for (const { key, id, record } of [...all.contents, ...all.snapshots]) {
      this.#learn(key, id, record.labels)
      if (isRoot(record.labels)) this.keep(key)
      yield
    }
    for (const { key, record } of all.ingests) {
      if (record.expiresAtMs !== undefined && record.expiresAtMs > this.nowMs) this.keep(key)
      yield
    }
  }

  /** Keeps an object that was written while this goes on, and whatever it refers to now, though it may have been visited before. */
  touch(written: string): void {
    const [table, namespace = '', , type = '', resource = ''] = splitKey(written)
    const key = table === resources.name ? resourceKey(namespace, type, resource) : written
    this.#full.add(key)
    this.#queue.push({ key, flat: false })
  }

  /** Follows references until there is nothing new. */
  *follow(view: View): Iterable<void> {
    for (let next = this.#queue.pop(); next !== undefined; next = this.#queue.pop()) {
      this.#visit(view, next.key, next.flat)
      yield
    }
  }

  #visit(view: View, key: string, flat: boolean): void {
    const [table, namespace = '', ...id] = splitKey(key)
    switch (table) {
      case contents.name: {
        const content = view.get(contents, namespace, ...id)
        if (content !== undefined) this.#keepRelated(key, namespace, content.labels, flat)
        break
      }
      case images.name: {
        const image = view.get(images, namespace, ...id)
        if (image === undefined) break
        this.keep(composeKey(contents.name, namespace, image.target.digest), flat)
        this.#keepRelated(key, namespace, image.labels, flat)
        break
      }
      case snapshots.name: {
        const snapshot = view.get(snapshots, namespace, ...id)
        if (snapshot === undefined) break
        const [snapshotter = ''] = id
        if (snapshot.parent !== '') this.keep(composeKey(snapshots.name, namespace, snapshotter, snapshot.parent), flat)
        this.#keepRelated(key, namespace, snapshot.labels, flat)
        if (!flat) this.#keepConditional(key, snapshot.labels)
        break
      }
      case containers.name: {
        const container = view.get(containers, namespace, ...id)
        if (container === undefined) break
        const { snapshotter, snapshotKey, labels } = container
        if (snapshotKey !== '') this.keep(composeKey(snapshots.name, namespace, snapshotter, snapshotKey))
        this.#keepRelated(key, namespace, labels, flat)
        break
      }
      case ingests.name: {
        const expected = view.get(ingests, namespace, ...id)?.expected
        if (expected !== undefined) this.keep(composeKey(contents.name, namespace, expected), flat)
        break
      }
    }
  }

  /** What the labels of an object name, and what lives as long as that object does. */
  #keepRelated(key: string, namespace: string, labels: Labels, flat: boolean): void {
    if (flat) return
    for (const target of references(namespace, labels)) this.keep(target)
    for (const dependant of this.#dependants.get(key) ?? []) this.keep(dependant)
  }

  #keepConditional(snapshot: string, labels: Labels): void {
    for (const { key, condition } of this.#conditional.get(snapshot) ?? [])
      if (holds(condition, labels, this.nowMs)) this.keep(key)
  }

  #learn(key: string, [namespace = '']: readonly string[], labels: Labels): void {
    for (const target of backReferences(namespace, labels)) add(this.#dependants, target, key)
    if (key.startsWith(`${snapshots.name}\0`)) return
    for (const condition of conditionsOf(namespace, labels)) add(this.#conditional, condition.snapshot, { key, condition })
  }
}

function add<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}

/** The key of what a lease lists. */
function resourceKey(namespace: string, type: string, id: string): string {
  const [kind = '', snapshotter = ''] = type.split('/')
  switch (kind) {
    case 'snapshots':
      return composeKey(snapshots.name, namespace, snapshotter, id)
    case 'images':
      return composeKey(images.name, namespace, id)
    case 'ingests':
      return composeKey(ingests.name, namespace, id)
    default:
      return composeKey(contents.name, namespace, id)
  }
}
