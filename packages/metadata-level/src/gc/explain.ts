import type { Explanation, ObjectKind, ObjectName } from '@containerd-ts/interface'
import type { Database } from '../database.js'
import { composeKey, splitKey } from '../key.js'
import { Pace } from '../pace.js'
import { containers, contents, images, ingests, leases, snapshots, type Table } from '../tables.js'
import { markKept } from './collect.js'

type Reason = Explanation['because'][number]

const kinds: readonly (readonly [ObjectKind, Table<unknown>])[] = [
  ['lease', leases],
  ['image', images],
  ['container', containers],
  ['content', contents],
  ['snapshot', snapshots],
  ['ingest', ingests],
]

/** The object that a key names. */
export function objectOf(key: string): ObjectName {
  const [table, namespace = '', ...id] = splitKey(key)
  const kind = kinds.find(([, { name }]) => name === table)?.[0] ?? 'content'
  const [snapshotter = '', snapshot = ''] = id
  return kind === 'snapshot' ? { kind, namespace, id: snapshot, snapshotter } : { kind, namespace, id: id[0] ?? '' }
}

/** Looks for objects of a name as a collection would do now, and remembers why they are kept. */
export async function explain(
  database: Database,
  object: Pick<ObjectName, 'namespace' | 'id'> & Partial<ObjectName>,
  nowMs: number,
): Promise<Explanation[]> {
  const keys = keysOf(database, object)
  const asked = new Set(keys)
  const first = new Map<string, { from: string | undefined; how: string }>()
  const keepers = new Map<string, Reason[]>()
  const { marker } = await markKept(database, nowMs, new Pace(), (target, from, how) => {
    // The nearest are found first, which makes the ways the shortest ones.
    if (!first.has(target)) first.set(target, { from, how })
    if (asked.has(target)) keepers.set(target, [...(keepers.get(target) ?? []), reason(from, how)])
  })
  return keys.map((key) => {
    const because: Reason[] = []
    for (let at = first.get(key); at !== undefined; at = at.from === undefined ? undefined : first.get(at.from))
      because.push(reason(at.from, at.how))
    const [, , ...id] = splitKey(key)
    const { kind } = objectOf(key)
    const table = kinds.find(([name]) => name === kind)?.[1] ?? contents
    return {
      object: objectOf(key),
      exists: database.get(table, object.namespace, ...id) !== undefined,
      kept: marker.isKept(key),
      because,
      keepers: keepers.get(key) ?? [],
    }
  })
}

function reason(from: string | undefined, how: string): Reason {
  return from === undefined ? { how } : { by: objectOf(from), how }
}

/** The keys of the objects with a name; when there is none, that of the one that would have it. */
function keysOf(database: Database, { namespace, id, kind, snapshotter }: Parameters<typeof explain>[1]): string[] {
  const found: string[] = []
  for (const [name, table] of kinds) {
    if (kind !== undefined && kind !== name) continue
    if (name !== 'snapshot') {
      if (database.get(table, namespace, id) !== undefined) found.push(composeKey(table.name, namespace, id))
    } else
      for (const entry of database.scan(snapshots, namespace))
        if (entry.id[2] === id && (snapshotter === undefined || snapshotter === entry.id[1])) found.push(entry.key)
  }
  if (found.length > 0) return found
  const table = kinds.find(([name]) => name === kind)?.[1] ?? contents
  return [kind === 'snapshot' ? composeKey(table.name, namespace, snapshotter ?? '', id) : composeKey(table.name, namespace, id)]
}
