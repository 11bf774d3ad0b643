/** The Transfer service: images move between registries, archives and the daemon's store, and the client only asks for it. */
import { requireNamespace } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { transferServiceOf } from './service.js'

export { type TransferServiceOptions, transferServiceOf } from './service.js'

/** The plugin `io.containerd.grpc.v1.transfer`. */
export const transferService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'transfer',
  requires: [PluginType.Transfer, PluginType.Streaming],
  init(ic) {
    const transferrers = [...ic.getAll(PluginType.Transfer).values()]
    return {
      services: [transferServiceOf({ transferrers, streams: ic.get(PluginType.Streaming), authorize: requireNamespace })],
    }
  },
}

register(transferService)
