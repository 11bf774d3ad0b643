import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openArchive } from '@containerd-ts/archive'
import {
  type Context,
  FailedPreconditionError,
  type Labels,
  type Mount,
  type Snapshotter,
  UnimplementedError,
} from '@containerd-ts/interface'
import { openSnapshotStorage, removeOrphans, type StoredSnapshot, snapshotInfo } from '@containerd-ts/snapshot-storage'

/**
 * Opens a snapshotter that copies the parent's whole tree, on a directory that is made where missing. What a crash has left
 * is deleted in the background.
 *
 * Layout: `metadata.db/` keys and parents, `snapshots/<id>` the trees. A view of a parent is the parent's own tree. A tree is made before
 * its snapshot is recorded and removed after the record: one that nothing names is of no use.
 */
export async function openNativeSnapshotter(root: string): Promise<Snapshotter> {
  const snapshots = join(root, 'snapshots')
  for (const directory of [root, snapshots]) {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await chmod(directory, 0o700)
  }
  const storage = await openSnapshotStorage(join(root, 'metadata.db'))
  // Trees are copied, measured and removed off the event loop.
  const trees = openArchive({ threads: 2 })
  const closing = new AbortController()
  const sweep = (signal: AbortSignal) =>
    removeOrphans(
      snapshots,
      (id) => storage.kindOf(id) !== undefined,
      (path) => trees.remove(path, signal),
    )
  // Not waited for: nobody needs it, and there may be much. What fails is tried again by the next clean-up.
  const firstSweep = sweep(closing.signal).catch(() => [])
  const treeOf = (id: number) => join(snapshots, String(id))

  function mountsOf(snapshot: StoredSnapshot): Mount[] {
    const shown = snapshot.kind === 'view' && snapshot.parent !== '' ? storage.get(snapshot.parent) : snapshot
    return [{ type: 'bind', source: treeOf(shown.id), target: '', options: ['rbind', snapshot.kind === 'view' ? 'ro' : 'rw'] }]
  }

  async function create(ctx: Context, kind: 'active' | 'view', key: string, parent: string, labels: Labels): Promise<Mount[]> {
    const snapshot = await storage.create({ kind, key, parent, labels }, async ({ id }) => {
      if (kind === 'view' && parent !== '') return
      const tree = treeOf(id)
      try {
        await trees.makeDirectories([{ path: tree, mode: 0o755 }])
        if (parent !== '') await trees.copy(treeOf(storage.get(parent).id), tree, ctx.signal)
      } catch (error) {
        await trees.remove(tree).catch(() => {})
        throw error
      }
    })
    return mountsOf(snapshot)
  }

  return {
    stat: async (_ctx, key) => snapshotInfo(storage.get(key)),
    update: async (_ctx, { name, labels }, fieldpaths) => snapshotInfo(await storage.update(name, labels, fieldpaths)),
    async usage(ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'view') return { inodes: 0, sizeBytes: 0 }
      return snapshot.usage ?? trees.measure(treeOf(snapshot.id), ctx.signal)
    },
    async mounts(_ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'committed') throw new FailedPreconditionError(`snapshot ${key} is not active or view`)
      return mountsOf(snapshot)
    },
    prepare: (ctx, key, parent, { labels = {} } = {}) => create(ctx, 'active', key, parent, labels),
    view: (ctx, key, parent, { labels = {} } = {}) => create(ctx, 'view', key, parent, labels),
    async commit(ctx, name, key, { labels = {}, parent } = {}) {
      // Its tree would have to be a copy of the parent's.
      if (parent !== undefined && storage.get(key).parent === '')
        throw new UnimplementedError(`snapshot ${key} cannot be given a parent by its commit`)
      const usage = await trees.measure(treeOf(storage.get(key).id), ctx.signal)
      await storage.commit(key, name, { usage, labels, ...(parent !== undefined && { parent }) })
    },
    async remove(ctx, key) {
      const { id } = await storage.remove(key)
      await trees.remove(treeOf(id)).catch((error) => {
        ctx.log.warn('cannot delete the tree of a removed snapshot', { key, error })
      })
    },
    async *walk(_ctx, filters) {
      for (const snapshot of storage.list(filters)) yield snapshotInfo(snapshot)
    },
    async cleanup(ctx) {
      await sweep(ctx.signal)
    },
    async close() {
      closing.abort()
      await firstSweep
      await trees.close()
      await storage.close()
    },
  }
}
