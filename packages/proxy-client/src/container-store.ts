import { zeroTimestamp } from '@containerd-ts/api'
import {
  ContainersDefinition,
  type Container as WireContainer,
} from '@containerd-ts/api/containerd/services/containers/v1/containers'
import { type Container, type ContainerStore, type ContainerWrite, NotFoundError } from '@containerd-ts/interface'
import { answer, answers, type ProxyConnection } from './connection.js'

/** The container records of a daemon. */
export function createRemoteContainerStore(connection: ProxyConnection): ContainerStore {
  const service = connection.service(ContainersDefinition)
  return {
    async get(ctx, id) {
      return fromWire((await answer(ctx, (options) => service.get({ id }, options))).container, id)
    },
    async *list(ctx, filters) {
      const found = answers(ctx, (options) => service.listStream({ filters: [...filters] }, options))
      for await (const { container } of found) yield fromWire(container, container?.id ?? '')
    },
    async create(ctx, container) {
      const { container: made } = await answer(ctx, (options) => service.create({ container: toWire(container) }, options))
      return fromWire(made, container.id)
    },
    async update(ctx, container, fieldpaths) {
      const request = { container: toWire(container), updateMask: [...fieldpaths] }
      return fromWire((await answer(ctx, (options) => service.update(request, options))).container, container.id)
    },
    async delete(ctx, id) {
      await answer(ctx, (options) => service.delete({ id }, options))
    },
  }
}

function toWire({ labels, extensions, runtime: { name, options }, ...rest }: ContainerWrite) {
  return { ...rest, labels: { ...labels }, extensions: { ...extensions }, runtime: { name, ...(options && { options }) } }
}

function fromWire(container: WireContainer | undefined, id: string): Container {
  if (container === undefined) throw new NotFoundError(`container ${id}`)
  const { runtime, spec, createdAt = zeroTimestamp, updatedAt = zeroTimestamp, ...rest } = container
  return {
    ...rest,
    runtime: { name: runtime?.name ?? '', ...(runtime?.options && { options: runtime.options }) },
    ...(spec && { spec }),
    createdAt,
    updatedAt,
  }
}
