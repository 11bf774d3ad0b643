import { background, type Garbage, type Snapshotter } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type { View } from '../database.js'
import { composeKey } from '../key.js'
import { contents, namespaces, snapshots } from '../tables.js'
import type { Removal } from './collect.js'
import { objectOf } from './explain.js'

interface SizeDeps {
  readonly view: View
  readonly snapshotters: ReadonlyMap<string, Snapshotter>
  readonly log: Logger
  readonly signal: AbortSignal
}

/** Says of each object how much room its removal makes. */
export async function withSizes(removals: readonly Removal[], deps: SizeDeps): Promise<Garbage[]> {
  const keys = removals.map(({ namespace, table, id }) => composeKey(table, namespace, ...id))
  const removed = new Set(keys)
  const garbage: Garbage[] = []
  const counted = new Set<string>()
  for (const key of keys) {
    deps.signal.throwIfAborted()
    const object = objectOf(key)
    let sizeBytes = 0
    if (object.kind === 'content' && !counted.has(object.id)) {
      counted.add(object.id)
      if (!isNamedElsewhere(deps.view, object.id, removed))
        sizeBytes = deps.view.get(contents, object.namespace, object.id)?.sizeBytes ?? 0
    } else if (object.kind === 'snapshot') sizeBytes = await usage(deps, object.namespace, object.snapshotter ?? '', object.id)
    garbage.push({ object, sizeBytes })
  }
  return garbage
}

/** The bytes of a blob stay as long as one namespace has it. */
function isNamedElsewhere(view: View, digest: string, removed: ReadonlySet<string>): boolean {
  return view
    .list(namespaces)
    .some(
      ({ id: [name = ''] }) =>
        view.get(contents, name, digest) !== undefined && !removed.has(composeKey(contents.name, name, digest)),
    )
}

async function usage(
  { view, snapshotters, log, signal }: SizeDeps,
  namespace: string,
  name: string,
  key: string,
): Promise<number> {
  const backend = view.get(snapshots, namespace, name, key)?.backend
  const snapshotter = snapshotters.get(name)
  if (backend === undefined || snapshotter === undefined) return 0
  try {
    return (await snapshotter.usage(background('', { log, signal }), backend)).sizeBytes
  } catch (error) {
    log.debug('cannot measure a snapshot', { snapshotter: name, key: backend, error })
    return 0
  }
}
