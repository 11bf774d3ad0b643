import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type NewDirectory, openArchive } from '@containerd-ts/archive'
import { type Context, FailedPreconditionError, type Labels, type Mount, type Snapshotter } from '@containerd-ts/interface'
import { openSnapshotStorage, removeOrphans, type StoredSnapshot, snapshotInfo } from '@containerd-ts/snapshot-storage'
import { overlayMounts, snapshotPaths } from './mounts.js'
import { mapOptions, mappedOwner } from './ownership.js'

/** How overlays are mounted and removed. */
export interface OverlayOptions {
  /** Options at the end of every overlay mount, for instance `index=off`. */
  mountOptions?: readonly string[]
  /** Delete directories within `remove` instead of in `cleanup`. */
  syncRemove?: boolean
  /** Show the upper directory in the label `containerd.io/snapshot/overlay.upperdir`. */
  upperdirLabel?: boolean
  /** Translate owners by the mounts of snapshots whose labels ask for it; needs Linux 5.19. */
  remapIds?: boolean
}

const upperdirLabel = 'containerd.io/snapshot/overlay.upperdir'

/**
 * Opens an overlayfs snapshotter on a directory, making it where missing. What a crash has left is deleted
 * in the background.
 *
 * Layout: `metadata.db/` keys and parents, `snapshots/<id>/fs` the tree, `snapshots/<id>/work` overlayfs' own (active ones only). A
 * directory is made before its snapshot is recorded and removed after the record: one that nothing names is of no use.
 */
export async function openOverlaySnapshotter(root: string, options: OverlayOptions = {}): Promise<Snapshotter> {
  const { mountOptions = [] } = options
  const snapshots = join(root, 'snapshots')
  for (const directory of [root, snapshots]) await makeDirectory(directory, 0o700)
  const storage = await openSnapshotStorage(join(root, 'metadata.db'))
  // Trees are measured and removed off the event loop.
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
  const paths = snapshotPaths(root)

  const mountsOf = (snapshot: StoredSnapshot): Mount[] =>
    overlayMounts(snapshot, storage.parents(snapshot), paths, {
      options: mountOptions,
      maps: options.remapIds === true ? mapOptions(snapshot.labels) : [],
    })
  const info = (snapshot: StoredSnapshot) => {
    const shown = snapshotInfo(snapshot)
    return options.upperdirLabel === true
      ? { ...shown, labels: { ...shown.labels, [upperdirLabel]: paths.upper(snapshot.id) } }
      : shown
  }

  async function create(kind: 'active' | 'view', key: string, parent: string, labels: Labels): Promise<Mount[]> {
    const mapped = mappedOwner(labels)
    const snapshot = await storage.create({ kind, key, parent, labels }, async (made) => {
      const directories = directoriesOf(
        made,
        mapped ?? (parent === '' ? undefined : { like: paths.upper(storage.get(parent).id) }),
      )
      try {
        await trees.makeDirectories(directories)
      } catch (error) {
        await trees.remove(paths.directory(made.id)).catch(() => {})
        throw error
      }
    })
    return mountsOf(snapshot)
  }

  function directoriesOf({ id, kind }: StoredSnapshot, owner: NewDirectory['owner']): NewDirectory[] {
    const directory = { path: paths.directory(id), mode: 0o700 }
    const upper = { path: paths.upper(id), mode: 0o755, ...(owner !== undefined && { owner }) }
    return kind === 'active' ? [directory, upper, { path: paths.work(id), mode: 0o711 }] : [directory, upper]
  }

  return {
    stat: async (_ctx, key) => info(storage.get(key)),
    update: async (_ctx, { name, labels }, fieldpaths) => info(await storage.update(name, labels, fieldpaths)),
    async usage(ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'view') return { inodes: 0, sizeBytes: 0 }
      return snapshot.usage ?? trees.measure(paths.upper(snapshot.id), ctx.signal)
    },
    async mounts(_ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'committed') throw new FailedPreconditionError(`snapshot ${key} is not active or view`)
      return mountsOf(snapshot)
    },
    prepare: (_ctx, key, parent, { labels = {} } = {}) => create('active', key, parent, labels),
    view: (_ctx, key, parent, { labels = {} } = {}) => create('view', key, parent, labels),
    async commit(ctx, name, key, { labels = {}, parent } = {}) {
      const usage = await trees.measure(paths.upper(storage.get(key).id), ctx.signal)
      await storage.commit(key, name, { usage, labels, ...(parent !== undefined && { parent }) })
    },
    async remove(ctx, key) {
      const { id } = await storage.remove(key)
      if (options.syncRemove !== true) return
      await trees.remove(paths.directory(id)).catch((error) => {
        ctx.log.warn('cannot delete the directory of a removed snapshot', { key, error })
      })
    },
    async *walk(_ctx, filters) {
      for (const snapshot of storage.list(filters)) yield info(snapshot)
    },
    async cleanup(ctx: Context) {
      const removed = await sweep(ctx.signal)
      if (removed.length > 0) ctx.log.debug('deleted directories of removed snapshots', { count: removed.length })
    },
    async close() {
      closing.abort()
      await firstSweep
      await trees.close()
      await storage.close()
    },
  }
}

/** Makes a directory of exactly that mode, whatever the umask. */
async function makeDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode })
  await chmod(path, mode)
}
