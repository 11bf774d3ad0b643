/** The Content service: blobs by digest, and the sessions that write them. */
import { requireNamespace } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { contentServiceOf } from './service.js'

export { type ContentServiceOptions, contentServiceOf } from './service.js'

/** The plugin `io.containerd.grpc.v1.content`. */
export const contentService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'content',
  requires: [PluginType.Metadata],
  init(ic) {
    const { content } = ic.get(PluginType.Metadata)
    return { services: [contentServiceOf({ content, authorize: requireNamespace })] }
  },
}

register(contentService)
