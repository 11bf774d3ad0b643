import type { CollectionStats } from '@containerd-ts/interface'
import type { Database, Entry, Transaction } from '../database.js'
import type { Dirty } from '../dirty.js'
import { Pace } from '../pace.js'
import {
  contents,
  type IngestRecord,
  images,
  ingests,
  leases,
  resources,
  type SnapshotRecord,
  snapshots,
  type Table,
} from '../tables.js'
import { Marker, populationOf, type Trace } from './mark.js'
import { ReferrersFirst } from './order.js'

/** What a collection has removed from the metadata, or would remove. */
export interface Removal {
  namespace: string
  /** Name of the table. */
  table: string
  id: readonly string[]
}

export interface MetadataCollection {
  removed: readonly Removal[]
  stats: Pick<CollectionStats, 'pauseMs' | 'removed'>
}

/**
 * Removes from the metadata what nothing keeps.
 *
 * What is kept is found in a view of one moment, while others go on writing. Everything that they write meanwhile counts as kept, with
 * all it refers to: a reference that moves to where was searched already is a write, so nothing that someone can still reach is missed.
 * What they unlink meanwhile is left to the next collection.
 *
 * What is not kept is removed a slice at a time, everything before what it refers to: whatever someone still finds, or a crash leaves, is
 * complete.
 */
export async function collectMetadata(
  database: Database,
  dirty: Dirty,
  nowMs: number,
  signal: AbortSignal,
  pace = new Pace(),
): Promise<MetadataCollection> {
  const touched = new Touched(database)
  try {
    dirty.clearDeleted()
    const { marker, unmarked } = await findGarbage(database, nowMs, pace, signal)
    const ordering = new ReferrersFirst(new Set(unmarked.keys()), (key) => marker.related(database, key))
    await pace.run(ordering.steps())
    const { order } = ordering
    const gone = new Set<Entry>()
    let at = 0
    let written: Promise<void> = Promise.resolve()
    while (at < order.length) {
      signal.throwIfAborted()
      // On disk together at the end, before anything of it is removed from a backend.
      const slice = database.update((tx) => pace.runAtOnce(() => sweep(tx)), { durable: false })
      // What comes of it is asked after the next one.
      slice.catch(() => {})
      // While one slice is written the next is found.
      await written
      written = slice
    }
    await written
    if (order.length > 0) await database.settle()
    const removed = await inOrder(unmarked.values(), pace, (entry) => gone.has(entry))
    return { removed, stats: { pauseMs: pace.busyMs, removed: count(removed) } }

    /** Removes for the length of a slice from `at` on. */
    function sweep(tx: Transaction): void {
      for (const key of touched.take()) marker.touch(key)
      for (const _ of marker.follow(tx));
      const hasTime = pace.slice()
      do {
        const entry = unmarked.get(order[at] ?? '')
        if (entry !== undefined) remove(tx, entry)
      } while (++at < order.length && hasTime())
    }

    function remove(tx: Transaction, { table, entry }: Garbage): void {
      const [namespace = '', ...id] = entry.id
      // What was deleted or written again since is not ours to remove.
      if (marker.isKept(entry.key) || tx.get(table, namespace, ...id) !== entry.record) return
      tx.delete(table, namespace, ...id)
      if (table === leases) for (const resource of tx.list(resources, namespace, ...id)) tx.delete(resources, ...resource.id)
      tx.afterwards(() => {
        gone.add(entry)
        suspect(table, id, entry)
      })
    }

    /** What the backends hold of it may go now. */
    function suspect(table: Table<unknown>, [id = '']: readonly string[], { record }: Entry): void {
      if (table === contents) dirty.blobs.add(id)
      else if (table === ingests) dirty.addIngest(record as IngestRecord)
      else if (table === snapshots) dirty.addSnapshot(id, (record as SnapshotRecord).backend)
    }
  } finally {
    touched.close()
  }
}

/** What a collection would remove now, in the order of its events. */
export async function previewCollection(database: Database, nowMs: number, signal: AbortSignal): Promise<Removal[]> {
  const pace = new Pace()
  const { unmarked } = await findGarbage(database, nowMs, pace, signal)
  return inOrder(unmarked.values(), pace, () => true)
}

/** Follows everything that is kept to its end; `trace` hears why. */
export async function markKept(database: Database, nowMs: number, pace: Pace, trace?: Trace) {
  const marker = new Marker(nowMs, trace)
  const population = populationOf(database)
  await pace.run(marker.addRoots(population))
  await pace.run(marker.follow(database))
  return { marker, population }
}

interface Garbage {
  readonly table: Table<unknown>
  readonly entry: Entry
}

async function findGarbage(database: Database, nowMs: number, pace: Pace, signal: AbortSignal) {
  const { marker, population } = await markKept(database, nowMs, pace)
  signal.throwIfAborted()
  const unmarked = new Map<string, Garbage>()
  await pace.run(unkept())
  return { marker, unmarked }

  /** Kind by kind, in the order of the events. */
  function* unkept(): Iterable<void> {
    for (const [table, entries] of [
      [leases, population.leases],
      [snapshots, population.snapshots],
      [ingests, population.ingests],
      [contents, population.contents],
      [images, population.images],
    ] as const) {
      for (const entry of entries) {
        if (!marker.isKept(entry.key)) unmarked.set(entry.key, { table, entry })
        yield
      }
    }
  }
}

/** The keys that others write while a collection goes on. */
class Touched {
  #keys: Set<string>
  readonly close: () => void

  constructor(database: Database) {
    this.#keys = new Set(database.pendingKeys())
    this.close = database.onChange(({ written }) => {
      for (const key of written) this.#keys.add(key)
    })
  }

  /** Gives them back and forgets them. */
  take(): ReadonlySet<string> {
    const keys = this.#keys
    this.#keys = new Set()
    return keys
  }
}

/** What of the garbage was removed: by namespace and in it by kind and id, bytewise. */
async function inOrder(garbage: Iterable<Garbage>, pace: Pace, isRemoved: (entry: Entry) => boolean): Promise<Removal[]> {
  // The garbage is in order for each kind, which leaves the namespaces.
  const namespaces = new Map<string, Removal[]>()
  await pace.run(group())
  const byName = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
  return [...namespaces.keys()].sort(byName).flatMap((namespace) => namespaces.get(namespace) ?? [])

  function* group(): Iterable<void> {
    for (const { table, entry } of garbage) {
      yield
      if (!isRemoved(entry)) continue
      const [namespace = '', ...id] = entry.id
      const removals = namespaces.get(namespace) ?? []
      if (removals.length === 0) namespaces.set(namespace, removals)
      removals.push({ namespace, table: table.name, id })
    }
  }
}

function count(removed: readonly Removal[]): CollectionStats['removed'] {
  const of = (table: Table<unknown>) => removed.filter((removal) => removal.table === table.name).length
  return { content: of(contents), snapshots: of(snapshots), leases: of(leases), ingests: of(ingests), images: of(images) }
}
