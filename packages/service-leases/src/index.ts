/** The Leases service, and the lease manager as a plugin of its own type. */
import { LeasesDefinition, type Lease as WireLease } from '@containerd-ts/api/containerd/services/leases/v1/leases'
import { bindService, InvalidArgumentError, type Lease, requireNamespace } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

/** The plugin `io.containerd.lease.v1.manager`. */
export const leaseManager: Registration<typeof PluginType.Lease> = {
  type: PluginType.Lease,
  id: 'manager',
  requires: [PluginType.Metadata],
  init: (ic) => ic.get(PluginType.Metadata).leases,
}

/** The plugin `io.containerd.grpc.v1.leases`. */
export const leasesService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'leases',
  requires: [PluginType.Lease, PluginType.GC],
  init(ic) {
    const leases = ic.get(PluginType.Lease)
    const collector = ic.get(PluginType.GC)
    return {
      services: [
        bindService(LeasesDefinition, {
          async create(ctx, { id, labels }) {
            requireNamespace(ctx)
            return { lease: toWire(await leases.create(ctx, { id, labels })) }
          },
          async delete(ctx, { id, sync }) {
            requireNamespace(ctx)
            await leases.delete(ctx, id)
            if (sync) await collector.collect()
            return {}
          },
          async list(ctx, { filters }) {
            requireNamespace(ctx)
            const found: WireLease[] = []
            for await (const lease of leases.list(ctx, filters)) found.push(toWire(lease))
            return { leases: found }
          },
          async addResource(ctx, { id, resource }) {
            requireNamespace(ctx)
            if (resource === undefined) throw new InvalidArgumentError('resource must be set')
            await leases.addResource(ctx, id, resource)
            return {}
          },
          async deleteResource(ctx, { id, resource }) {
            requireNamespace(ctx)
            if (resource === undefined) throw new InvalidArgumentError('resource must be set')
            await leases.deleteResource(ctx, id, resource)
            return {}
          },
          async listResources(ctx, { id }) {
            requireNamespace(ctx)
            return { resources: await leases.listResources(ctx, id) }
          },
        }),
      ],
    }
  },
}

function toWire({ id, labels, createdAt }: Lease): WireLease {
  return { id, labels: { ...labels }, createdAt }
}

register(leaseManager)
register(leasesService)
