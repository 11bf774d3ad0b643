import {
  NamespacesDefinition,
  type Namespace as WireNamespace,
} from '@containerd-ts/api/containerd/services/namespaces/v1/namespaces'
import type { Namespace, NamespaceStore } from '@containerd-ts/interface'
import { answer, type ProxyConnection } from './connection.js'

/** The namespaces of a daemon. */
export function createRemoteNamespaceStore(connection: ProxyConnection): NamespaceStore {
  const service = connection.service(NamespacesDefinition)
  return {
    async get(ctx, name) {
      return fromWire((await answer(ctx, (options) => service.get({ name }, options))).namespace, { name, labels: {} })
    },
    async list(ctx) {
      const { namespaces } = await answer(ctx, (options) => service.list({}, options))
      return namespaces.map((namespace) => fromWire(namespace, namespace))
    },
    async create(ctx, namespace) {
      const request = { namespace: toWire(namespace) }
      return fromWire((await answer(ctx, (options) => service.create(request, options))).namespace, namespace)
    },
    async update(ctx, namespace, fieldpaths) {
      const request = { namespace: toWire(namespace), updateMask: [...fieldpaths] }
      // containerd leaves the answer empty.
      return fromWire((await answer(ctx, (options) => service.update(request, options))).namespace, namespace)
    },
    async delete(ctx, name) {
      await answer(ctx, (options) => service.delete({ name }, options))
    },
  }
}

function toWire({ name, labels }: Namespace) {
  return { name, labels: { ...labels } }
}

function fromWire(namespace: WireNamespace | undefined, otherwise: Namespace): Namespace {
  return { name: namespace?.name ?? otherwise.name, labels: namespace?.labels ?? otherwise.labels }
}
