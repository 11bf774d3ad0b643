import type { Container, Labels } from '@containerd-ts/interface'
import type { CommittedView, Entry, View } from '../database.js'
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
import { backReferences, flatLabel, isExpired, references, rootLabel } from './labels.js'

/** What is read to find out what is kept: everything as it is at one moment. */
export interface Population {
  leases: Iterable<Entry<LeaseRecord>>
  resources: Iterable<Entry<true>>
  images: Iterable<Entry<ImageRecord>>
  containers: Iterable<Entry<Container>>
  contents: Iterable<Entry<ContentRecord>>
  snapshots: Iterable<Entry<SnapshotRecord>>
  ingests: Iterable<Entry<IngestRecord>>
}

export function populationOf(view: CommittedView): Population {
  return {
    leases: view.scan(leases),
    resources: view.scan(resources),
    images: view.scan(images),
    containers: view.scan(containers),
    contents: view.scan(contents),
    snapshots: view.scan(snapshots),
    ingests: view.scan(ingests),
  }
}

/** Hears of every reason to keep the object with the key `target`: another object, or none for a root, and in what way. */
export type Trace = (target: string, from: string | undefined, how: string) => void

/** An object that another one keeps. */
interface Related {
  readonly key: string
  readonly how: string
}

interface Found {
  readonly key: string
  readonly flat: boolean
}

/**
 * Finds what is kept: roots are added, then references are followed from everything found, the nearest first.
 *
 * A flat lease keeps what it lists in a flat way: parents of snapshots and targets of images with it, but nothing that labels name.
 * What is found in both ways is found in the full way.
 */
export class Marker {
  readonly #full = new Set<string>()
  readonly #flat = new Set<string>()
  #found: Found[] = []
  /** What lives as long as the object with this key does. */
  readonly #dependants = new Map<string, Related[]>()
  readonly #conditional = new Map<string, { key: string; condition: Condition }[]>()

  constructor(
    readonly nowMs: number,
    readonly trace?: Trace,
  ) {}

  isKept(key: string): boolean {
    return this.#full.has(key) || this.#flat.has(key)
  }

  #keep(key: string, flat: boolean, from: string | undefined, how: string): void {
    this.trace?.(key, from, how)
    if (this.#full.has(key) || (flat && this.#flat.has(key))) return
    const set = flat ? this.#flat : this.#full
    set.add(key)
    this.#found.push({ key, flat })
  }

  /** Adds the roots among all objects, and learns who lives through whom. The steps are for pausing in between. */
  *addRoots(all: Population): Iterable<void> {
    const flatness = new Map<string, boolean>()
    for (const { key, id, record } of all.leases) {
      if (isExpired(record.labels, this.nowMs)) continue
      this.#keep(key, false, undefined, 'not expired')
      flatness.set(composeKey(...id), flatLabel in record.labels)
      yield
    }
    for (const { id } of all.resources) {
      const [namespace = '', lease = '', type = '', resource = ''] = id
      const flat = flatness.get(composeKey(namespace, lease))
      if (flat !== undefined)
        this.#keep(resourceKey(namespace, type, resource), flat, composeKey(leases.name, namespace, lease), 'listed')
      yield
    }
    for (const { key, id, record } of all.images) {
      this.#learn(key, id, record.labels)
      if (!isExpired(record.labels, this.nowMs)) this.#keep(key, false, undefined, 'not expired')
      yield
    }
    for (const { key } of all.containers) {
      this.#keep(key, false, undefined, 'containers are never collected')
      yield
    }
    for (const objects of [all.contents, all.snapshots]) {
      for (const { key, id, record } of objects) {
        this.#learn(key, id, record.labels)
        const label = rootLabel(record.labels)
        if (label !== undefined) this.#keep(key, false, undefined, label)
        yield
      }
    }
    for (const { key, record } of all.ingests) {
      if (record.expiresAtMs !== undefined && record.expiresAtMs > this.nowMs) this.#keep(key, false, undefined, 'not expired')
      yield
    }
  }

  /** Keeps an object that was written while this goes on, and whatever it refers to now, though it may have been visited before. */
  touch(written: string): void {
    const [table, namespace = '', , type = '', resource = ''] = splitKey(written)
    const key = table === resources.name ? resourceKey(namespace, type, resource) : written
    this.#full.add(key)
    this.#found.push({ key, flat: false })
  }

  /** Follows references until there is nothing new. */
  *follow(view: View): Iterable<void> {
    while (this.#found.length > 0) {
      const wave = this.#found
      this.#found = []
      for (const { key, flat } of wave) {
        for (const target of this.related(view, key, flat)) this.#keep(target.key, flat, key, target.how)
        yield
      }
    }
  }

  /** What an object keeps; the flat way leaves out what labels say. */
  *related(view: View, key: string, flat = false): Iterable<Related> {
    const [table, namespace = '', ...id] = splitKey(key)
    let labels: Labels | undefined
    switch (table) {
      case contents.name:
        labels = view.get(contents, namespace, ...id)?.labels
        break
      case images.name: {
        const image = view.get(images, namespace, ...id)
        labels = image?.labels
        if (image !== undefined) yield { key: composeKey(contents.name, namespace, image.target.digest), how: 'target' }
        break
      }
      case snapshots.name: {
        const snapshot = view.get(snapshots, namespace, ...id)
        labels = snapshot?.labels
        if (snapshot !== undefined && snapshot.parent !== '')
          yield { key: composeKey(snapshots.name, namespace, id[0] ?? '', snapshot.parent), how: 'parent' }
        if (labels !== undefined && !flat) yield* this.#conditionallyKept(key, labels)
        break
      }
      case containers.name: {
        const container = view.get(containers, namespace, ...id)
        labels = container?.labels
        if (container !== undefined && container.snapshotKey !== '') {
          const { snapshotter, snapshotKey } = container
          yield { key: composeKey(snapshots.name, namespace, snapshotter, snapshotKey), how: 'snapshot' }
        }
        break
      }
      case ingests.name: {
        const expected = view.get(ingests, namespace, ...id)?.expected
        if (expected !== undefined) yield { key: composeKey(contents.name, namespace, expected), how: 'expected' }
        break
      }
    }
    if (labels === undefined || flat) return
    for (const { key: target, label } of references(namespace, labels)) yield { key: target, how: label }
    yield* this.#dependants.get(key) ?? []
  }

  *#conditionallyKept(snapshot: string, labels: Labels): Iterable<Related> {
    for (const { key, condition } of this.#conditional.get(snapshot) ?? [])
      if (holds(condition, labels, this.nowMs)) yield { key, how: condition.label }
  }

  #learn(key: string, [namespace = '']: readonly string[], labels: Labels): void {
    for (const { key: target, label } of backReferences(namespace, labels)) add(this.#dependants, target, { key, how: label })
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
