import { Kind, SnapshotsDefinition, type Info as WireInfo } from '@containerd-ts/api/containerd/services/snapshots/v1/snapshots'
import {
  type BoundService,
  bindService,
  type Context,
  InvalidArgumentError,
  type SnapshotInfo,
  type SnapshotKind,
  type Snapshotter,
  UnimplementedError,
} from '@containerd-ts/interface'

const batchSize = 100

/** What a Snapshots service serves. */
export interface SnapshotsServiceOptions {
  /** By the name that clients give in each request. */
  snapshotters: ReadonlyMap<string, Snapshotter>
  /** Called before each operation but `Cleanup`; throws when the call may not be served. */
  authorize?: (ctx: Context) => void
  /** Offer `Cleanup`. In a daemon it is not: there cleaning up belongs to garbage collection. */
  offersCleanup?: boolean
}

/** Snapshotters as the gRPC service `containerd.services.snapshots.v1.Snapshots`. */
export function snapshotsServiceOf(options: SnapshotsServiceOptions): BoundService {
  const { snapshotters, authorize = () => {}, offersCleanup = false } = options
  const find = (name: string): Snapshotter => {
    if (name === '') throw new InvalidArgumentError('snapshotter argument missing')
    const snapshotter = snapshotters.get(name)
    if (snapshotter === undefined) throw new InvalidArgumentError(`snapshotter not loaded: ${name}`)
    return snapshotter
  }
  const named = (ctx: Context, name: string): Snapshotter => {
    const snapshotter = find(name)
    authorize(ctx)
    return snapshotter
  }
  return bindService(SnapshotsDefinition, {
    async prepare(ctx, { snapshotter, key, parent, labels }) {
      return { mounts: await named(ctx, snapshotter).prepare(ctx, key, parent, { labels }) }
    },
    async view(ctx, { snapshotter, key, parent, labels }) {
      return { mounts: await named(ctx, snapshotter).view(ctx, key, parent, { labels }) }
    },
    async mounts(ctx, { snapshotter, key }) {
      return { mounts: await named(ctx, snapshotter).mounts(ctx, key) }
    },
    async commit(ctx, { snapshotter, name, key, labels, parent }) {
      await named(ctx, snapshotter).commit(ctx, name, key, { labels, ...(parent !== '' && { parent }) })
      return {}
    },
    async remove(ctx, { snapshotter, key }) {
      await named(ctx, snapshotter).remove(ctx, key)
      return {}
    },
    async stat(ctx, { snapshotter, key }) {
      return { info: toWire(await named(ctx, snapshotter).stat(ctx, key)) }
    },
    async update(ctx, { snapshotter, info, updateMask }) {
      const { name = '', labels = {} } = info ?? {}
      return { info: toWire(await named(ctx, snapshotter).update(ctx, { name, labels }, updateMask ?? [])) }
    },
    async *list(ctx, { snapshotter, filters }) {
      let info: WireInfo[] = []
      for await (const snapshot of named(ctx, snapshotter).walk(ctx, filters)) {
        info.push(toWire(snapshot))
        if (info.length < batchSize) continue
        yield { info }
        info = []
      }
      if (info.length > 0) yield { info }
    },
    async usage(ctx, { snapshotter, key }) {
      const { sizeBytes, inodes } = await named(ctx, snapshotter).usage(ctx, key)
      return { size: sizeBytes, inodes }
    },
    async cleanup(ctx, { snapshotter }) {
      const target = find(snapshotter)
      if (!offersCleanup || target.cleanup === undefined)
        throw new UnimplementedError('snapshotter does not implement Cleanup method')
      await target.cleanup(ctx)
      return {}
    },
  })
}

const kinds: Readonly<Record<SnapshotKind, Kind>> = { view: Kind.VIEW, active: Kind.ACTIVE, committed: Kind.COMMITTED }

function toWire(info: SnapshotInfo): WireInfo {
  return { ...info, kind: kinds[info.kind], labels: { ...info.labels } }
}
