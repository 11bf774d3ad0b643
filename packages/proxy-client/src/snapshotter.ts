import { zeroTimestamp } from '@containerd-ts/api'
import { Kind, SnapshotsDefinition, type Info as WireInfo } from '@containerd-ts/api/containerd/services/snapshots/v1/snapshots'
import {
  isNotFound,
  isUnimplemented,
  NotFoundError,
  type SnapshotInfo,
  type SnapshotKind,
  type Snapshotter,
} from '@containerd-ts/interface'
import { answer, answers, type ProxyConnection } from './connection.js'

/** A snapshotter that another process serves. `name` is what it is asked for there. */
export function createRemoteSnapshotter(connection: ProxyConnection, name: string): Snapshotter {
  const service = connection.service(SnapshotsDefinition)
  const snapshotter = name
  return {
    async stat(ctx, key) {
      const { info } = await answer(ctx, (options) => service.stat({ snapshotter, key }, options))
      return fromWire(info, key)
    },
    async update(ctx, { name: key, labels }, fieldpaths) {
      const request = { snapshotter, info: { name: key, labels: { ...labels } }, updateMask: [...fieldpaths] }
      const { info } = await answer(ctx, (options) => service.update(request, options))
      return fromWire(info, key)
    },
    async usage(ctx, key) {
      const { size, inodes } = await answer(ctx, (options) => service.usage({ snapshotter, key }, options))
      return { sizeBytes: size, inodes }
    },
    async mounts(ctx, key) {
      return (await answer(ctx, (options) => service.mounts({ snapshotter, key }, options))).mounts
    },
    async prepare(ctx, key, parent, { labels = {} } = {}) {
      return (await answer(ctx, (options) => service.prepare({ snapshotter, key, parent, labels: { ...labels } }, options)))
        .mounts
    },
    async view(ctx, key, parent, { labels = {} } = {}) {
      return (await answer(ctx, (options) => service.view({ snapshotter, key, parent, labels: { ...labels } }, options))).mounts
    },
    async commit(ctx, committed, key, { labels = {}, parent = '' } = {}) {
      await answer(ctx, (options) =>
        service.commit({ snapshotter, name: committed, key, labels: { ...labels }, parent }, options),
      )
    },
    async remove(ctx, key) {
      await answer(ctx, (options) => service.remove({ snapshotter, key }, options))
    },
    async *walk(ctx, filters) {
      const batches = answers(ctx, (options) => service.list({ snapshotter, filters: [...filters] }, options))
      try {
        for await (const { info } of batches) for (const snapshot of info) yield fromWire(snapshot, snapshot.name)
      } catch (error) {
        if (!isUnused(error)) throw error
      }
    },
    async cleanup(ctx) {
      try {
        await answer(ctx, (options) => service.cleanup({ snapshotter }, options))
      } catch (error) {
        // It has nothing to clean up.
        if (!isUnimplemented(error) && !isUnused(error)) throw error
      }
    },
  }
}

/** What snapshotters made with containerd's packages say before they have had a snapshot; with which code depends on the call. */
function isUnused(error: unknown): boolean {
  return isNotFound(error) || (error instanceof Error && error.message.endsWith('bucket does not exist: not found'))
}

const kinds = new Map<Kind, SnapshotKind>([
  [Kind.VIEW, 'view'],
  [Kind.ACTIVE, 'active'],
  [Kind.COMMITTED, 'committed'],
])

function fromWire(info: WireInfo | undefined, key: string): SnapshotInfo {
  const kind = info && kinds.get(info.kind)
  if (info === undefined || kind === undefined) throw new NotFoundError(`snapshot ${key} of unknown kind`)
  const { name, parent, labels, createdAt = zeroTimestamp, updatedAt = zeroTimestamp } = info
  return { kind, name, parent, labels, createdAt, updatedAt }
}
