import { zeroTimestamp } from '@containerd-ts/api'
import { LeasesDefinition, type Lease as WireLease } from '@containerd-ts/api/containerd/services/leases/v1/leases'
import { type Lease, type LeaseManager, NotFoundError } from '@containerd-ts/interface'
import { answer, type ProxyConnection } from './connection.js'

/** The leases of a daemon. */
export function createRemoteLeaseManager(connection: ProxyConnection): LeaseManager {
  const service = connection.service(LeasesDefinition)
  return {
    async create(ctx, { id, labels }) {
      return fromWire((await answer(ctx, (options) => service.create({ id, labels: { ...labels } }, options))).lease, id)
    },
    async delete(ctx, id) {
      await answer(ctx, (options) => service.delete({ id }, options))
    },
    async *list(ctx, filters) {
      const { leases } = await answer(ctx, (options) => service.list({ filters: [...filters] }, options))
      for (const lease of leases) yield fromWire(lease, lease.id)
    },
    async addResource(ctx, id, resource) {
      await answer(ctx, (options) => service.addResource({ id, resource }, options))
    },
    async deleteResource(ctx, id, resource) {
      await answer(ctx, (options) => service.deleteResource({ id, resource }, options))
    },
    async listResources(ctx, id) {
      return (await answer(ctx, (options) => service.listResources({ id }, options))).resources
    },
  }
}

function fromWire(lease: WireLease | undefined, id: string): Lease {
  if (lease === undefined) throw new NotFoundError(`lease ${id}`)
  return { id: lease.id, labels: lease.labels, createdAt: lease.createdAt ?? zeroTimestamp }
}
