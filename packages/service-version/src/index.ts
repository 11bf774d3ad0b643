/** The Version service: what this daemon is. */
import { VersionDefinition } from '@containerd-ts/api/containerd/services/version/v1/version'
import { bindService } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

/** The plugin `io.containerd.grpc.v1.version`. */
export const versionService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'version',
  init({ daemon }) {
    const answer = Promise.resolve({ version: daemon.version, revision: daemon.revision })
    return { services: [bindService(VersionDefinition, { version: () => answer })] }
  },
}

register(versionService)
