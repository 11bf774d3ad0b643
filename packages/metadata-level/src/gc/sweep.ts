import { background, type ContentStore, type Context, isNotFound, type Snapshotter } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type { View } from '../database.js'
import type { Dirty, Suspects } from '../dirty.js'
import { contents, ingests, namespaces, snapshots } from '../tables.js'

/** Deletes the blobs and ingests among the suspects that no namespace names. Nobody may add any meanwhile. */
export async function sweepContent(view: View, backend: ContentStore, dirty: Dirty, log: Logger): Promise<void> {
  const ctx = background('', { log })
  const [blobs, writes] = [dirty.blobs.take(), dirty.ingests.take()]
  const records = view.list(ingests).map(({ record }) => record)

  const begunFrom = new Set(records.map(({ expected }) => expected))
  const owners = view.list(namespaces).map(({ id: [name = ''] }) => name)
  const isNamed = (digest: string) =>
    begunFrom.has(digest) || owners.some((owner) => view.get(contents, owner, digest) !== undefined)
  for await (const digest of blobs.all ? digestsOf(backend, ctx) : blobs.names) {
    if (isNamed(digest)) continue
    await attempt(log, { digest }, () => backend.delete(ctx, digest)).catch(() => dirty.blobs.add(digest))
  }

  const refs = new Set(records.map(({ backend }) => backend))
  for (const ref of writes.all ? (await backend.listStatuses(ctx, [])).map((status) => status.ref) : writes.names) {
    if (refs.has(ref)) continue
    await attempt(log, { ref }, () => backend.abort(ctx, ref)).catch(() => dirty.ingests.add(ref))
  }
}

async function* digestsOf(backend: ContentStore, ctx: Context): AsyncIterable<string> {
  for await (const { digest } of backend.walk(ctx, [])) yield digest
}

/** Removes the snapshots among the suspects that no namespace names, children before parents. Nobody may add any meanwhile. */
export async function sweepSnapshots(view: View, name: string, backend: Snapshotter, dirty: Dirty, log: Logger): Promise<void> {
  const suspects = dirty.snapshots.get(name)?.take()
  if (suspects === undefined) return
  const ctx = background('', { log })
  const named = new Set(
    view
      .list(snapshots)
      .filter(({ id }) => id[1] === name)
      .map(({ record }) => record.backend),
  )
  for (const key of suspects.all ? await allChildrenFirst(backend, ctx) : childrenFirst(suspects)) {
    if (named.has(key)) continue
    await attempt(log, { snapshotter: name, key }, () => backend.remove(ctx, key)).catch(() => dirty.addSnapshot(name, key))
  }
  await backend.cleanup?.(ctx)
}

/** Names are numbered, and children come later than their parents. */
function childrenFirst({ names }: Suspects): string[] {
  const numberOf = (key: string) => Number(/^[^/]*\/(\d+)\//.exec(key)?.[1] ?? 0)
  return [...names].sort((a, b) => numberOf(b) - numberOf(a))
}

async function allChildrenFirst(backend: Snapshotter, ctx: Context): Promise<string[]> {
  const parents = new Map<string, string>()
  for await (const { name, parent } of backend.walk(ctx, [])) parents.set(name, parent)
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

/** One object that resists must not keep the rest: it is told and tried again another time. */
async function attempt(log: Logger, fields: Readonly<Record<string, string>>, remove: () => Promise<void>): Promise<void> {
  try {
    await remove()
  } catch (error) {
    if (isNotFound(error)) return
    log.warn('cannot remove garbage', { ...fields, error })
    throw error
  }
}
