/** A snapshotter that copies the parent's whole tree. Replace the copying by what makes yours special. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openArchive } from '@containerd-ts/archive'
import {
  type Context,
  FailedPreconditionError,
  hostPlatform,
  type Labels,
  type Mount,
  type Snapshotter,
  UnimplementedError,
} from '@containerd-ts/interface'
import { definePlugin, PluginType, register, text } from '@containerd-ts/plugin'
import { openSnapshotStorage, type StoredSnapshot, snapshotInfo } from '@containerd-ts/snapshot-storage'

export async function openSnapshotter(root: string): Promise<Snapshotter> {
  await mkdir(join(root, 'trees'), { recursive: true, mode: 0o700 })
  // Keys, parents and kinds, with containerd's rules and error texts.
  const storage = await openSnapshotStorage(join(root, 'metadata.db'))
  // Copies, measures and removes trees in worker threads.
  const trees = openArchive({ threads: 1 })
  const treeOf = (id: number) => join(root, 'trees', String(id))

  function mountsOf({ id, kind }: StoredSnapshot): Mount[] {
    return [{ type: 'bind', source: treeOf(id), target: '', options: ['rbind', kind === 'view' ? 'ro' : 'rw'] }]
  }

  async function create(ctx: Context, kind: 'active' | 'view', key: string, parent: string, labels: Labels): Promise<Mount[]> {
    const snapshot = await storage.create({ kind, key, parent, labels }, async ({ id }) => {
      await mkdir(treeOf(id), { mode: 0o755 })
      if (parent !== '') await trees.copy(treeOf(storage.get(parent).id), treeOf(id), ctx.signal)
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
    async commit(ctx, name, key, { labels = {}, parent = '' } = {}) {
      // The tree was made without it.
      if (parent !== '' && storage.get(key).parent === '')
        throw new UnimplementedError(`snapshot ${key} cannot be given a parent by its commit`)
      const usage = await trees.measure(treeOf(storage.get(key).id), ctx.signal)
      await storage.commit(key, name, { usage, labels, ...(parent !== '' && { parent }) })
    },
    async remove(_ctx, key) {
      const { id } = await storage.remove(key)
      await trees.remove(treeOf(id))
    },
    async *walk(_ctx, filters) {
      for (const snapshot of storage.list(filters)) yield snapshotInfo(snapshot)
    },
    async close() {
      await trees.close()
      await storage.close()
    },
  }
}

/** `[plugins."io.containerd.snapshotter.v1.__name__"]` in the daemon's configuration; `--snapshotter __name__` for its clients. */
export const snapshotter = definePlugin({
  type: PluginType.Snapshotter,
  id: '__name__',
  config: { root_path: text({ default: '', doc: "Directory of the snapshots; empty means the plugin's own." }) },
  init(ic) {
    const root = ic.config.root_path || ic.root
    ic.meta.platforms.push(hostPlatform())
    ic.meta.exports['root'] = root
    return openSnapshotter(root)
  },
})

register(snapshotter)
