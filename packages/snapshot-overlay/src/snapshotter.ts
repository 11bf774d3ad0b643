import { chmod, chown, mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Context, FailedPreconditionError, type Labels, type Mount, type Snapshotter } from '@containerd-ts/interface'
import { diskUsage, openSnapshotStorage, removeOrphans, type StoredSnapshot, snapshotInfo } from '@containerd-ts/snapshot-storage'
import { overlayMounts, snapshotPaths } from './mounts.js'
import { mappedOwner } from './ownership.js'

export interface OverlayOptions {
  /** Options at the end of every overlay mount, for instance `index=off`. */
  mountOptions?: readonly string[]
  /** Delete directories within `remove` instead of in `cleanup`. */
  syncRemove?: boolean
  /** Show the upper directory in the label `containerd.io/snapshot/overlay.upperdir`. */
  upperdirLabel?: boolean
}

const upperdirLabel = 'containerd.io/snapshot/overlay.upperdir'

/**
 * Opens an overlayfs snapshotter on a directory, making it where missing. Directories that a crash has left are deleted.
 *
 * Layout: `metadata.db/` keys and parents, `snapshots/<id>/fs` the tree, `snapshots/<id>/work` overlayfs' own (active ones only).
 */
export async function openOverlaySnapshotter(root: string, options: OverlayOptions = {}): Promise<Snapshotter> {
  const { mountOptions = [] } = options
  const snapshots = join(root, 'snapshots')
  for (const directory of [root, snapshots]) await makeDirectory(directory, 0o700)
  const storage = await openSnapshotStorage(join(root, 'metadata.db'))
  await removeOrphans(snapshots, storage)
  const paths = snapshotPaths(root)

  const mountsOf = (snapshot: StoredSnapshot): Mount[] => overlayMounts(snapshot, storage.parents(snapshot), paths, mountOptions)
  const info = (snapshot: StoredSnapshot) => {
    const shown = snapshotInfo(snapshot)
    return options.upperdirLabel === true
      ? { ...shown, labels: { ...shown.labels, [upperdirLabel]: paths.upper(snapshot.id) } }
      : shown
  }

  async function create(kind: 'active' | 'view', key: string, parent: string, labels: Labels): Promise<Mount[]> {
    const owner = mappedOwner(labels)
    const snapshot = await storage.create({ kind, key, parent, labels }, async (made) => {
      try {
        await makeTree(made, owner)
      } catch (error) {
        await rm(paths.directory(made.id), { recursive: true, force: true })
        throw error
      }
    })
    return mountsOf(snapshot)
  }

  async function makeTree(snapshot: StoredSnapshot, owner: { uid: number; gid: number } | undefined): Promise<void> {
    await makeDirectory(paths.directory(snapshot.id), 0o700)
    const upper = paths.upper(snapshot.id)
    await makeDirectory(upper, 0o755)
    if (snapshot.kind === 'active') await makeDirectory(paths.work(snapshot.id), 0o711)
    const { uid, gid } = owner ?? (await ownerOfParent(snapshot))
    if (uid !== 0 || gid !== 0) await chown(upper, uid, gid)
  }

  async function ownerOfParent(snapshot: StoredSnapshot): Promise<{ uid: number; gid: number }> {
    return snapshot.parent === '' ? { uid: 0, gid: 0 } : stat(paths.upper(storage.get(snapshot.parent).id))
  }

  return {
    stat: async (_ctx, key) => info(storage.get(key)),
    update: async (_ctx, { name, labels }, fieldpaths) => info(await storage.update(name, labels, fieldpaths)),
    async usage(ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'view') return { inodes: 0, sizeBytes: 0 }
      return snapshot.usage ?? diskUsage(paths.upper(snapshot.id), ctx.signal)
    },
    async mounts(_ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'committed') throw new FailedPreconditionError(`snapshot ${key} is not active or view`)
      return mountsOf(snapshot)
    },
    prepare: (_ctx, key, parent, { labels = {} } = {}) => create('active', key, parent, labels),
    view: (_ctx, key, parent, { labels = {} } = {}) => create('view', key, parent, labels),
    async commit(ctx, name, key, { labels = {}, parent } = {}) {
      const usage = await diskUsage(paths.upper(storage.get(key).id), ctx.signal)
      await storage.commit(key, name, { usage, labels, ...(parent !== undefined && { parent }) })
    },
    async remove(ctx, key) {
      const { id } = await storage.remove(key)
      if (options.syncRemove !== true) return
      await rm(paths.directory(id), { recursive: true, force: true }).catch((error) => {
        ctx.log.warn('cannot delete the directory of a removed snapshot', { key, error })
      })
    },
    async *walk(_ctx, filters) {
      for (const snapshot of storage.list(filters)) yield info(snapshot)
    },
    async cleanup(ctx: Context) {
      const removed = await removeOrphans(snapshots, storage)
      if (removed.length > 0) ctx.log.debug('deleted directories of removed snapshots', { count: removed.length })
    },
    close: () => storage.close(),
  }
}

/** Makes a directory of exactly that mode, whatever the umask. */
async function makeDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode })
  await chmod(path, mode)
}
