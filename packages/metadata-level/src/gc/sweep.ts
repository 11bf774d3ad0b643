import { background, type ContentStore, isFailedPrecondition, isNotFound, type Snapshotter } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type { View } from '../database.js'
import { contents, ingests, snapshots } from '../tables.js'

/** Deletes the blobs and ingests that no namespace names. Nobody may add any meanwhile. */
export async function sweepContent(view: View, backend: ContentStore, log: Logger): Promise<void> {
  const ctx = background('', { log })
  const digests = new Set(view.list(contents).map(({ id }) => id[1] ?? ''))
  const refs = new Set<string>()
  for (const { record } of view.list(ingests)) {
    refs.add(record.backend)
    if (record.expected !== undefined) digests.add(record.expected)
  }
  for await (const { digest } of backend.walk(ctx, [])) {
    if (digests.has(digest)) continue
    await attempt(log, { digest }, () => backend.delete(ctx, digest))
  }
  for (const { ref } of await backend.listStatuses(ctx, [])) {
    if (!refs.has(ref)) await attempt(log, { ref }, () => backend.abort(ctx, ref))
  }
}

/** Removes the snapshots that no namespace names, children before parents. Nobody may add any meanwhile. */
export async function sweepSnapshots(view: View, name: string, backend: Snapshotter, log: Logger): Promise<void> {
  const ctx = background('', { log })
  const named = new Set(
    view
      .list(snapshots)
      .filter(({ id }) => id[1] === name)
      .map(({ record }) => record.backend),
  )
  const parents = new Map<string, string>()
  for await (const snapshot of backend.walk(ctx, [])) parents.set(snapshot.name, snapshot.parent)
  for (const key of childrenFirst(parents)) {
    if (!named.has(key)) await attempt(log, { snapshotter: name, key }, () => backend.remove(ctx, key))
  }
  await backend.cleanup?.(ctx)
}

function childrenFirst(parents: ReadonlyMap<string, string>): string[] {
  const depths = new Map<string, number>()
  for (const key of parents.keys()) {
    const path: string[] = []
    let at: string | undefined = key
    while (at !== undefined && at !== '' && !depths.has(at)) {
      path.push(at)
      at = parents.get(at)
    }
    let depth = depths.get(at ?? '') ?? 0
    for (const step of path.reverse()) depths.set(step, ++depth)
  }
  return [...parents.keys()].sort((a, b) => (depths.get(b) ?? 0) - (depths.get(a) ?? 0))
}

/** One object that resists must not keep the rest. */
async function attempt(log: Logger, fields: Readonly<Record<string, string>>, remove: () => Promise<void>): Promise<void> {
  try {
    await remove()
  } catch (error) {
    if (isNotFound(error)) return
    if (isFailedPrecondition(error)) log.debug('garbage is still in use', { ...fields, error })
    else log.warn('cannot remove garbage', { ...fields, error })
  }
}
