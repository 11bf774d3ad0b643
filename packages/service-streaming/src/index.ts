/** The Streaming service: streams that clients open for other calls to use. */
import { requireNamespace, type StreamManager } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createStreamManager } from './manager.js'
import { streamingServiceOf } from './service.js'

export { createStreamManager } from './manager.js'
export { type StreamingServiceOptions, streamingServiceOf } from './service.js'

/** The plugin `io.containerd.streaming.v1.manager`, which other plugins get streams from. */
export const streamManager: Registration<typeof PluginType.Streaming> = {
  type: PluginType.Streaming,
  id: 'manager',
  init: (): StreamManager => createStreamManager(),
}

/** The plugin `io.containerd.grpc.v1.streaming`. */
export const streamingService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'streaming',
  requires: [PluginType.Streaming],
  init: (ic) => ({ services: [streamingServiceOf({ manager: ic.get(PluginType.Streaming), authorize: requireNamespace })] }),
}

register(streamManager)
register(streamingService)
