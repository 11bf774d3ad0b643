/** The Namespaces service. */
import {
  NamespacesDefinition,
  type Namespace as WireNamespace,
} from '@containerd-ts/api/containerd/services/namespaces/v1/namespaces'
import { bindService, type Namespace } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

/** The plugin `io.containerd.grpc.v1.namespaces`. */
export const namespacesService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'namespaces',
  requires: [PluginType.Metadata],
  init(ic) {
    const { namespaces } = ic.get(PluginType.Metadata)
    return {
      services: [
        bindService(NamespacesDefinition, {
          async get(ctx, { name }) {
            return { namespace: toWire(await namespaces.get(ctx, name)) }
          },
          async list(ctx) {
            return { namespaces: (await namespaces.list(ctx)).map(toWire) }
          },
          async create(ctx, { namespace }) {
            return { namespace: toWire(await namespaces.create(ctx, namespace ?? { name: '', labels: {} })) }
          },
          async update(ctx, { namespace, updateMask }) {
            await namespaces.update(ctx, namespace ?? { name: '', labels: {} }, updateMask ?? [])
            // containerd leaves the answer empty, and so do we.
            return { namespace: undefined }
          },
          async delete(ctx, { name }) {
            await namespaces.delete(ctx, name)
            return {}
          },
        }),
      ],
    }
  },
}

function toWire({ name, labels }: Namespace): WireNamespace {
  return { name, labels: { ...labels } }
}

register(namespacesService)
