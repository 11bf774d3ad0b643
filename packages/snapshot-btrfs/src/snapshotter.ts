import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openArchive } from '@containerd-ts/archive'
import {
  type Context,
  FailedPreconditionError,
  type Labels,
  type Mount,
  type SnapshotKind,
  type Snapshotter,
  type SnapshotUsage,
  UnimplementedError,
} from '@containerd-ts/interface'
import { isErrno } from '@containerd-ts/linux'
import { openSnapshotStorage, removeOrphans, type StoredSnapshot, snapshotInfo } from '@containerd-ts/snapshot-storage'
import { deviceOf } from './device.js'
import { createSubvolume, deleteSubvolume, snapshotSubvolume, subvolumeId } from './subvolumes.js'

const directories: Readonly<Record<SnapshotKind, string>> = { active: 'active', view: 'view', committed: 'snapshots' }

/**
 * Opens a snapshotter whose snapshots are subvolumes, on a directory of a btrfs that is made where missing. What a crash has left is
 * deleted in the background.
 *
 * Layout: `metadata.db/` keys and parents; `active/<id>`, `view/<id>` and `snapshots/<id>` the subvolumes of each kind.
 */
export async function openBtrfsSnapshotter(root: string): Promise<Snapshotter> {
  for (const directory of [root, ...Object.values(directories).map((name) => join(root, name))]) {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await chmod(directory, 0o700)
  }
  const device = await deviceOf(root)
  const storage = await openSnapshotStorage(join(root, 'metadata.db'))
  // Trees are measured off the event loop.
  const trees = openArchive({ threads: 2 })
  const closing = new AbortController()
  // Ids whose committed subvolume may be there before their record says so.
  const committing = new Map<number, Promise<unknown>>()
  const pathOf = (kind: SnapshotKind, id: number) => join(root, directories[kind], String(id))
  // Not waited for: nobody needs it, and there may be much. What fails is tried again by the next clean-up.
  const firstSweep = sweep(closing.signal).catch(() => {})

  async function sweep(signal: AbortSignal): Promise<void> {
    for (const kind of ['active', 'view', 'committed'] as const) {
      const owns = (id: number) => storage.kindOf(id) === kind || committing.has(id)
      await removeOrphans(join(root, directories[kind]), owns, (path) => removeSubvolume(path, signal))
    }
  }

  async function removeSubvolume(path: string, signal?: AbortSignal): Promise<void> {
    try {
      await deleteSubvolume(path)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return
      // Something else than a subvolume, or one with others below it, as a container may have made them.
      if (!isErrno(error, 'ENOTEMPTY') && !isErrno(error, 'EINVAL') && !isErrno(error, 'ENOTDIR')) throw error
      await trees.remove(path, signal)
    }
  }

  async function mountsOf(snapshot: StoredSnapshot): Promise<Mount[]> {
    const options = [`subvolid=${await subvolumeId(pathOf(snapshot.kind, snapshot.id))}`]
    if (snapshot.kind !== 'active') options.push('ro')
    return [{ type: 'btrfs', source: device, target: '', options }]
  }

  async function create(kind: 'active' | 'view', key: string, parent: string, labels: Labels): Promise<Mount[]> {
    const snapshot = await storage.create({ kind, key, parent, labels }, async ({ id }) => {
      const path = pathOf(kind, id)
      try {
        if (parent === '') await createSubvolume(path, 0o755)
        else
          await snapshotSubvolume(pathOf('committed', storage.get(parent).id), path, kind === 'view' ? 'read-only' : 'writable')
      } catch (error) {
        await removeSubvolume(path).catch(() => {})
        throw error
      }
    })
    return mountsOf(snapshot)
  }

  /** What an active snapshot itself takes: all that is not as in its parent. */
  function measure(ctx: Context, { id, parent }: StoredSnapshot): Promise<SnapshotUsage> {
    const path = pathOf('active', id)
    return parent === ''
      ? trees.measure(path, ctx.signal)
      : trees.measureChanges(pathOf('committed', storage.get(parent).id), path, ctx.signal)
  }

  async function commit(ctx: Context, name: string, key: string, labels: Labels, parent: string | undefined): Promise<void> {
    const active = storage.get(key)
    if (active.kind !== 'active') throw new FailedPreconditionError(`snapshot ${key} is not active`)
    // Its tree would have to be a snapshot of the parent's.
    if (parent !== undefined && active.parent === '')
      throw new UnimplementedError(`snapshot ${key} cannot be given a parent by its commit`)
    const [path, committed] = [pathOf('active', active.id), pathOf('committed', active.id)]
    const usage = await measure(ctx, active)
    await removeSubvolume(committed)
    await snapshotSubvolume(path, committed, 'read-only')
    try {
      await storage.commit(key, name, { usage, labels, ...(parent !== undefined && { parent }) })
    } catch (error) {
      await removeSubvolume(committed).catch(() => {})
      throw error
    }
    await removeSubvolume(path).catch((error) => {
      ctx.log.warn('cannot delete the active subvolume of a committed snapshot', { key, error })
    })
  }

  return {
    stat: async (_ctx, key) => snapshotInfo(storage.get(key)),
    update: async (_ctx, { name, labels }, fieldpaths) => snapshotInfo(await storage.update(name, labels, fieldpaths)),
    async usage(ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'view') return { inodes: 0, sizeBytes: 0 }
      return snapshot.usage ?? measure(ctx, snapshot)
    },
    async mounts(_ctx, key) {
      const snapshot = storage.get(key)
      if (snapshot.kind === 'committed') throw new FailedPreconditionError(`snapshot ${key} is not active or view`)
      return mountsOf(snapshot)
    },
    prepare: (_ctx, key, parent, { labels = {} } = {}) => create('active', key, parent, labels),
    view: (_ctx, key, parent, { labels = {} } = {}) => create('view', key, parent, labels),
    async commit(ctx, name, key, { labels = {}, parent } = {}) {
      const { id } = storage.get(key)
      // One commit of a snapshot after the other: the second one finds that it is no longer active.
      const turn = (committing.get(id) ?? Promise.resolve()).catch(() => {}).then(() => commit(ctx, name, key, labels, parent))
      committing.set(id, turn)
      try {
        await turn
      } finally {
        if (committing.get(id) === turn) committing.delete(id)
      }
    },
    async remove(ctx, key) {
      const { id, kind } = await storage.remove(key)
      await removeSubvolume(pathOf(kind, id)).catch((error) => {
        ctx.log.warn('cannot delete the subvolume of a removed snapshot', { key, error })
      })
    },
    async *walk(_ctx, filters) {
      for (const snapshot of storage.list(filters)) yield snapshotInfo(snapshot)
    },
    cleanup: (ctx) => sweep(ctx.signal),
    async close() {
      closing.abort()
      await firstSweep
      await trees.close()
      await storage.close()
    },
  }
}
