import type { Any, Timestamp } from '@containerd-ts/api'
import { Container as ContainerMessage } from '@containerd-ts/api/containerd/services/containers/v1/containers'
import type { Container, Descriptor, Labels } from '@containerd-ts/interface'

/*
 * The layout of the database. A key is a tuple (see key.ts), a value JSON unless said otherwise, with a checksum behind it (see
 * record-seal.ts).
 *
 *     schema    version                             the number of this layout in decimal digits, without checksum
 *     schema    state                               how many batches and records there are, and the sum of checksums
 *     schema    sequence                            up to where backend snapshot numbers are given out
 *     namespace <namespace>                         NamespaceRecord
 *     container <namespace> <id>                    protobuf containerd.services.containers.v1.Container
 *     image     <namespace> <name>                  ImageRecord
 *     content   <namespace> <digest>                ContentRecord
 *     ingest    <namespace> <ref>                   IngestRecord
 *     snapshot  <namespace> <snapshotter> <key>     SnapshotRecord
 *     lease     <namespace> <id>                    LeaseRecord
 *     resource  <namespace> <lease> <type> <id>     empty: the lease keeps this
 *
 * A change that older code would misread raises `schemaVersion` and gets a step in migrations.ts; a database of a newer version is
 * refused.
 */
export const schemaVersion = 2

/** How the values under keys with this first part are stored. */
export interface Table<R> {
  readonly name: string
  encode(record: R): Uint8Array
  decode(value: Uint8Array): R
}

export interface NamespaceRecord {
  labels: Labels
}

export interface ImageRecord {
  labels: Labels
  target: Descriptor
  createdAt: Timestamp
  updatedAt: Timestamp
}

export interface ContentRecord {
  sizeBytes: number
  labels: Labels
  createdAt: Timestamp
  updatedAt: Timestamp
}

export interface IngestRecord {
  /** Its ref in the backend. */
  backend: string
  /** The digest of a blob that another namespace has, from which this ingest begins. */
  expected?: string
  /** When it may be collected, in milliseconds since 1970, unless a lease keeps it. Without it only a lease does. */
  expiresAtMs?: number
}

export interface SnapshotRecord {
  /** Its key in the backend. */
  backend: string
  /** Name of the parent in the same namespace and snapshotter, empty for none. */
  parent: string
  labels: Labels
  createdAt: Timestamp
  updatedAt: Timestamp
  /** What it is becoming: the backend may have committed it already. */
  committing?: CommittingSnapshot
}

/** A committed snapshot to be. */
export interface CommittingSnapshot {
  name: string
  /** Its key in the backend. */
  backend: string
  parent: string
  labels: Labels
  /** The lease that is to keep it, empty for none. */
  lease: string
}

export interface LeaseRecord {
  labels: Labels
  createdAt: Timestamp
}

function json<R>(name: string): Table<R> {
  return {
    name,
    encode: (record) => Buffer.from(JSON.stringify(record)),
    decode: (value) => JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8')) as R,
  }
}

export const schema = json<number>('schema')
export const namespaces = json<NamespaceRecord>('namespace')
export const images = json<ImageRecord>('image')
export const contents = json<ContentRecord>('content')
export const ingests = json<IngestRecord>('ingest')
export const snapshots = json<SnapshotRecord>('snapshot')
export const leases = json<LeaseRecord>('lease')

export const resources: Table<true> = {
  name: 'resource',
  encode: () => new Uint8Array(),
  decode: () => true,
}

export const containers: Table<Container> = {
  name: 'container',
  encode: (container) =>
    ContainerMessage.encode({
      ...container,
      labels: { ...container.labels },
      runtime: { name: container.runtime.name, options: container.runtime.options },
      spec: container.spec,
      extensions: { ...container.extensions },
    }).finish(),
  decode: (value) => {
    const { runtime, spec, createdAt, updatedAt, ...message } = ContainerMessage.decode(value)
    return {
      ...message,
      runtime: { name: runtime?.name ?? '', ...(runtime?.options && { options: runtime.options }) },
      ...(spec && { spec }),
      createdAt: createdAt ?? { seconds: 0, nanos: 0 },
      updatedAt: updatedAt ?? { seconds: 0, nanos: 0 },
    }
  },
}

/** A payload whose bytes are its own: those of a request are part of the whole message it came in. */
export function ownedAny({ typeUrl, value }: Any): Any {
  return { typeUrl, value: new Uint8Array(value) }
}

/** Every table but `schema`. */
export const tables: readonly Table<unknown>[] = [namespaces, containers, images, contents, ingests, snapshots, leases, resources]
