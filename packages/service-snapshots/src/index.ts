/** The Snapshots service: the namespaced snapshotters. */
import { requireNamespace } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { snapshotsServiceOf } from './service.js'

export { type SnapshotsServiceOptions, snapshotsServiceOf } from './service.js'

/** The plugin `io.containerd.grpc.v1.snapshots`. */
export const snapshotsService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'snapshots',
  requires: [PluginType.Metadata],
  init(ic) {
    const { snapshotters } = ic.get(PluginType.Metadata)
    return { services: [snapshotsServiceOf({ snapshotters, authorize: requireNamespace })] }
  },
}

register(snapshotsService)
