import type { CollectionStats } from '@containerd-ts/interface'
import type { Database, Entry, Transaction } from '../database.js'
import type { Dirty } from '../dirty.js'
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
import { Marker, populationOf } from './mark.js'
import { Pace } from './pace.js'

/** What a collection has removed from the metadata. */
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

// Within a namespace in this order, which is the order of the events.
const collected: readonly Table<unknown>[] = [leases, snapshots, ingests, contents, images]

/**
 * Removes from the metadata what nothing keeps.
 *
 * What is kept is found while others go on writing. Everything that they write meanwhile counts as kept, with all it refers to: a
 * reference that moves to where was searched already is a write, so nothing that someone can still reach is missed. What they
 * unlink meanwhile is left to the next collection. Only the end runs alone: it follows what the last writes refer to and deletes.
 */
export async function collectMetadata(
  database: Database,
  dirty: Dirty,
  nowMs: number,
  signal: AbortSignal,
  pace = new Pace(),
): Promise<MetadataCollection> {
  const marker = new Marker(nowMs)
  const touched = new Set(database.pendingKeys())
  const stop = database.onChange(({ written }) => {
    for (const key of written) touched.add(key)
  })
  try {
    dirty.clearDeleted()
    const all = populationOf(database)
    await pace.run(marker.addRoots(all))
    await pace.run(marker.follow(database))
    signal.throwIfAborted()
    const candidates: { table: Table<unknown>; entry: Entry }[] = []
    const populations: readonly (readonly Entry[])[] = [all.leases, all.snapshots, all.ingests, all.contents, all.images]
    await pace.run(unmarked())
    const removed = await database.update((tx) => pace.runAtOnce(() => sweep(tx)))
    return { removed, stats: { pauseMs: pace.busyMs, removed: count(removed) } }

    function* unmarked(): Iterable<void> {
      for (const [rank, table] of collected.entries()) {
        for (const entry of populations[rank] ?? []) {
          if (!marker.isKept(entry.key)) candidates.push({ table, entry })
          yield
        }
      }
    }

    function sweep(tx: Transaction): Removal[] {
      for (const key of touched) marker.touch(key)
      for (const _ of marker.follow(tx));
      const removals: Removal[] = []
      for (const { table, entry } of candidates) {
        // What was deleted or written again since is not ours to remove.
        if (marker.isKept(entry.key) || tx.get(table, ...entry.id) !== entry.record) continue
        tx.delete(table, ...entry.id)
        const [namespace = '', ...id] = entry.id
        if (table.name === leases.name)
          for (const resource of tx.list(resources, namespace, ...id)) tx.delete(resources, ...resource.id)
        tx.afterwards(() => suspect(table, id, entry))
        removals.push({ namespace, table: table.name, id })
      }
      // The candidates are in order within each namespace; a stable sort leaves them so.
      return removals.sort((a, b) => Buffer.compare(Buffer.from(a.namespace), Buffer.from(b.namespace)))
    }

    /** What the backends hold of it may go now. */
    function suspect(table: Table<unknown>, [id = '']: readonly string[], { record }: Entry): void {
      if (table === contents) dirty.blobs.add(id)
      else if (table === ingests) dirty.addIngest(record as IngestRecord)
      else if (table === snapshots) dirty.addSnapshot(id, (record as SnapshotRecord).backend)
    }
  } finally {
    stop()
  }
}

function count(removed: readonly Removal[]): CollectionStats['removed'] {
  const of = (table: Table<unknown>) => removed.filter((removal) => removal.table === table.name).length
  return { content: of(contents), snapshots: of(snapshots), leases: of(leases), ingests: of(ingests), images: of(images) }
}
