import { type Client, createGrpcClient, type ServiceDefinition } from '@containerd-ts/api'
import { ContainersDefinition } from '@containerd-ts/api/containerd/services/containers/v1/containers'
import { ContentDefinition } from '@containerd-ts/api/containerd/services/content/v1/content'
import { DiffDefinition } from '@containerd-ts/api/containerd/services/diff/v1/diff'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/v1/events'
import { ImagesDefinition } from '@containerd-ts/api/containerd/services/images/v1/images'
import { IntrospectionDefinition } from '@containerd-ts/api/containerd/services/introspection/v1/introspection'
import { LeasesDefinition } from '@containerd-ts/api/containerd/services/leases/v1/leases'
import { NamespacesDefinition } from '@containerd-ts/api/containerd/services/namespaces/v1/namespaces'
import { SnapshotsDefinition } from '@containerd-ts/api/containerd/services/snapshots/v1/snapshots'
import { StreamingDefinition } from '@containerd-ts/api/containerd/services/streaming/v1/streaming'
import { TasksDefinition } from '@containerd-ts/api/containerd/services/tasks/v1/tasks'
import { TransferDefinition } from '@containerd-ts/api/containerd/services/transfer/v1/transfer'
import { VersionDefinition } from '@containerd-ts/api/containerd/services/version/v1/version'
import { HealthDefinition } from '@containerd-ts/api/grpc/health/v1/health'
import { Client as Connection, credentials } from '@grpc/grpc-js'

const mebibyte = 1024 * 1024

const definitions = {
  containers: ContainersDefinition,
  content: ContentDefinition,
  diff: DiffDefinition,
  events: EventsDefinition,
  health: HealthDefinition,
  images: ImagesDefinition,
  introspection: IntrospectionDefinition,
  leases: LeasesDefinition,
  namespaces: NamespacesDefinition,
  snapshots: SnapshotsDefinition,
  streaming: StreamingDefinition,
  tasks: TasksDefinition,
  transfer: TransferDefinition,
  version: VersionDefinition,
} as const satisfies Record<string, ServiceDefinition>

/** Typed calls of every service. */
export type Services = { readonly [K in keyof typeof definitions]: Client<(typeof definitions)[K]> }

/** What a connection is for. */
export interface ConnectOptions {
  /** The namespace of all calls. Default `default`. */
  namespace?: string
  /** The snapshotter for unpacking and for containers. Default `overlayfs`. */
  snapshotter?: string
}

/** A connection to a daemon, in one namespace. */
export interface Containerd extends Services {
  readonly namespace: string
  readonly snapshotter: string
  /** The same connection with every call under a lease: what it creates is kept until the lease is deleted. */
  withLease(id: string): Containerd
  /** Ends the connection; calls under way fail. */
  close(): void
}

/** Connects to a daemon's unix socket. The connection is made at the first call, and again when the daemon was restarted. */
export function connect(address: string, options: ConnectOptions = {}): Containerd {
  const connection = new Connection(`unix:${address}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 16 * mebibyte,
    'grpc.max_send_message_length': 16 * mebibyte,
  })
  return bind(connection, options.namespace ?? 'default', options.snapshotter ?? 'overlayfs')
}

function bind(connection: Connection, namespace: string, snapshotter: string, lease?: string): Containerd {
  const metadata = { 'containerd-namespace': namespace, ...(lease !== undefined && { 'containerd-lease': lease }) }
  const services = Object.fromEntries(
    Object.entries(definitions).map(([name, definition]) => [name, createGrpcClient(definition, connection, metadata)]),
  )
  return {
    ...(services as unknown as Services),
    namespace,
    snapshotter,
    withLease: (id) => bind(connection, namespace, snapshotter, id),
    close: () => connection.close(),
  }
}

/** Runs `work` under a lease that is gone afterwards: what nothing else refers to by then may be collected. */
export async function leased<T>(containerd: Containerd, work: (leased: Containerd) => Promise<T>): Promise<T> {
  const expire = new Date(Date.now() + 24 * 3_600_000).toISOString()
  const { lease } = await containerd.leases.create({ labels: { 'containerd.io/gc.expire': expire } })
  const id = lease?.id ?? ''
  try {
    return await work(containerd.withLease(id))
  } finally {
    await containerd.leases.delete({ id })
  }
}

/** True for a failed call with that gRPC status. */
export function hasStatus(error: unknown, code: number): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}
