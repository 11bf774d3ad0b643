/** The Containers service: the records of containers. */
import {
  ContainersDefinition,
  type Container as WireContainer,
} from '@containerd-ts/api/containerd/services/containers/v1/containers'
import {
  bindService,
  type Container,
  type ContainerWrite,
  InvalidArgumentError,
  requireNamespace,
} from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

/** The plugin `io.containerd.grpc.v1.containers`. */
export const containersService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'containers',
  requires: [PluginType.Metadata],
  init(ic) {
    const { containers } = ic.get(PluginType.Metadata)
    return {
      services: [
        bindService(ContainersDefinition, {
          async get(ctx, { id }) {
            requireNamespace(ctx)
            return { container: toWire(await containers.get(ctx, id)) }
          },
          async list(ctx, { filters }) {
            requireNamespace(ctx)
            const found: WireContainer[] = []
            for await (const container of containers.list(ctx, filters)) found.push(toWire(container))
            return { containers: found }
          },
          async *listStream(ctx, { filters }) {
            requireNamespace(ctx)
            for await (const container of containers.list(ctx, filters)) yield { container: toWire(container) }
          },
          async create(ctx, { container }) {
            requireNamespace(ctx)
            return { container: toWire(await containers.create(ctx, fromWire(container))) }
          },
          async update(ctx, { container, updateMask }) {
            if (container === undefined || container.id === '') throw new InvalidArgumentError('Container.ID required')
            requireNamespace(ctx)
            return { container: toWire(await containers.update(ctx, fromWire(container), updateMask ?? [])) }
          },
          async delete(ctx, { id }) {
            requireNamespace(ctx)
            await containers.delete(ctx, id)
            return {}
          },
        }),
      ],
    }
  },
}

function fromWire(container: WireContainer | undefined): ContainerWrite {
  if (container === undefined) throw new InvalidArgumentError('container must be set')
  const { id, labels, image, runtime, spec, snapshotter, snapshotKey, extensions, sandbox } = container
  return {
    id,
    labels,
    image,
    runtime: { name: runtime?.name ?? '', ...(runtime?.options && { options: runtime.options }) },
    ...(spec && { spec }),
    snapshotter,
    snapshotKey,
    extensions,
    sandbox,
  }
}

function toWire(container: Container): WireContainer {
  return {
    ...container,
    labels: { ...container.labels },
    runtime: { name: container.runtime.name, options: container.runtime.options },
    spec: container.spec,
    extensions: { ...container.extensions },
  }
}

register(containersService)
