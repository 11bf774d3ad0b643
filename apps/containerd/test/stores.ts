import { LeasesDefinition } from '@containerd-ts/api/containerd/services/leases/v1/leases'
import type {
  ContainerStore,
  ContentStore,
  ImageStore,
  LeaseManager,
  NamespaceStore,
  Snapshotter,
} from '@containerd-ts/interface'
import {
  connectProxy,
  createRemoteContainerStore,
  createRemoteContentStore,
  createRemoteImageStore,
  createRemoteLeaseManager,
  createRemoteNamespaceStore,
  createRemoteSnapshotter,
} from '@containerd-ts/proxy-client'

/** What a client of a daemon uses. */
export interface Stores {
  readonly content: ContentStore
  readonly images: ImageStore
  readonly containers: ContainerStore
  readonly namespaces: NamespaceStore
  readonly leases: LeaseManager
  readonly snapshotters: readonly (readonly [name: string, snapshotter: Snapshotter])[]
  /** Waits for a complete collection of garbage. */
  collect(): Promise<void>
  close(): void
}

export function connectStores(address: string): Stores {
  const connection = connectProxy(address)
  const leases = connection.service(LeasesDefinition)
  const options = { metadata: { 'containerd-namespace': 'collecting' } }
  return {
    content: createRemoteContentStore(connection),
    images: createRemoteImageStore(connection),
    containers: createRemoteContainerStore(connection),
    namespaces: createRemoteNamespaceStore(connection),
    leases: createRemoteLeaseManager(connection),
    snapshotters: ['native', 'overlayfs'].map((name) => [name, createRemoteSnapshotter(connection, name)]),
    async collect() {
      const { lease } = await leases.create({}, options)
      await leases.delete({ id: lease?.id ?? '', sync: true }, options)
    },
    close: () => connection.close(),
  }
}
