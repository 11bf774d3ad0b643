/** The Snapshots service: the namespaced snapshotters. */
import { Kind, SnapshotsDefinition, type Info as WireInfo } from '@containerd-ts/api/containerd/services/snapshots/v1/snapshots'
import {
  bindService,
  InvalidArgumentError,
  requireNamespace,
  type SnapshotInfo,
  type SnapshotKind,
  type Snapshotter,
  UnimplementedError,
} from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

const batchSize = 100

export const snapshotsService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'snapshots',
  requires: [PluginType.Metadata],
  init(ic) {
    const { snapshotters } = ic.get(PluginType.Metadata)
    const named = (name: string): Snapshotter => {
      if (name === '') throw new InvalidArgumentError('snapshotter argument missing')
      const snapshotter = snapshotters.get(name)
      if (snapshotter === undefined) throw new InvalidArgumentError(`snapshotter not loaded: ${name}`)
      return snapshotter
    }
    return {
      services: [
        bindService(SnapshotsDefinition, {
          async prepare(ctx, { snapshotter, key, parent, labels }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            return { mounts: await target.prepare(ctx, key, parent, { labels }) }
          },
          async view(ctx, { snapshotter, key, parent, labels }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            return { mounts: await target.view(ctx, key, parent, { labels }) }
          },
          async mounts(ctx, { snapshotter, key }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            return { mounts: await target.mounts(ctx, key) }
          },
          async commit(ctx, { snapshotter, name, key, labels, parent }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            await target.commit(ctx, name, key, { labels, ...(parent !== '' && { parent }) })
            return {}
          },
          async remove(ctx, { snapshotter, key }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            await target.remove(ctx, key)
            return {}
          },
          async stat(ctx, { snapshotter, key }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            return { info: toWire(await target.stat(ctx, key)) }
          },
          async update(ctx, { snapshotter, info, updateMask }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            const { name = '', labels = {} } = info ?? {}
            return { info: toWire(await target.update(ctx, { name, labels }, updateMask ?? [])) }
          },
          async *list(ctx, { snapshotter, filters }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            let info: WireInfo[] = []
            for await (const snapshot of target.walk(ctx, filters)) {
              info.push(toWire(snapshot))
              if (info.length < batchSize) continue
              yield { info }
              info = []
            }
            if (info.length > 0) yield { info }
          },
          async usage(ctx, { snapshotter, key }) {
            const target = named(snapshotter)
            requireNamespace(ctx)
            const { sizeBytes, inodes } = await target.usage(ctx, key)
            return { size: sizeBytes, inodes }
          },
          async cleanup(_ctx, { snapshotter }) {
            named(snapshotter)
            // As in containerd: cleaning up belongs to garbage collection.
            throw new UnimplementedError('snapshotter does not implement Cleanup method')
          },
        }),
      ],
    }
  },
}

const kinds: Readonly<Record<SnapshotKind, Kind>> = { view: Kind.VIEW, active: Kind.ACTIVE, committed: Kind.COMMITTED }

function toWire(info: SnapshotInfo): WireInfo {
  return { ...info, kind: kinds[info.kind], labels: { ...info.labels } }
}

register(snapshotsService)
