/** A gRPC service: how many bytes the blobs of a namespace take. Replace it by what yours is to answer. */
import { ListContentRequest } from '@containerd-ts/api/containerd/services/content/v1/content'
import { Descriptor } from '@containerd-ts/api/containerd/types/descriptor'
import { bindService, requireNamespace } from '@containerd-ts/interface'
import { definePlugin, PluginType, text } from '@containerd-ts/plugin'

/** Clients find it under this name. Messages may be containerd's, as here, or generated from protos of your own with ts-proto. */
export const UsageDefinition = {
  name: 'Usage',
  fullName: 'example.usage.v1.Usage',
  methods: {
    total: {
      name: 'Total',
      requestType: ListContentRequest,
      requestStream: false,
      responseType: Descriptor,
      responseStream: false,
    },
  },
} as const

export const plugin = definePlugin({
  type: PluginType.GRPC,
  id: '__name__',
  // The plugin API that this was written for: a daemon with another major refuses it with a sentence.
  api: '^1.0.0',
  requires: [PluginType.Metadata],
  config: { unit: text({ default: 'bytes', doc: 'Shown with the total.' }) },
  init(ic) {
    // Typed by the plugin type: a MetadataStore.
    const { content } = ic.get(PluginType.Metadata)
    return {
      services: [
        bindService(UsageDefinition, {
          async total(ctx, { filters }) {
            requireNamespace(ctx)
            let size = 0
            for await (const blob of content.walk(ctx, filters)) size += blob.sizeBytes
            return { mediaType: '', digest: '', size, annotations: { unit: ic.config.unit } }
          },
        }),
      ],
    }
  },
})
