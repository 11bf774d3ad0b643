import type { Any, Timestamp } from '@containerd-ts/api'
import type { ContentStore, Labels } from './content.js'
import type { Context } from './context.js'
import type { PluginInfoProvider } from './plugin-info.js'
import type { Snapshotter } from './snapshots.js'

/** Names content: what a manifest, a layer or an image points to. */
export interface Descriptor {
  mediaType: string
  digest: string
  sizeBytes: number
  annotations: Labels
}

/** A name for a descriptor. */
export interface Image {
  name: string
  labels: Labels
  target: Descriptor
  createdAt: Timestamp
  updatedAt: Timestamp
}

/** An image as its creator gives it. */
export interface ImageWrite {
  name: string
  labels: Labels
  target: Descriptor
  /** Taken as the stamp instead of the present time. */
  sourceDateEpoch?: Timestamp
}

/** The images of the namespaces. */
export interface ImageStore {
  /** @throws NotFound */
  get(ctx: Context, name: string): Promise<Image>
  /** In byte order of the names. */
  list(ctx: Context, filters: readonly string[]): AsyncIterable<Image>
  /** @throws InvalidArgument, AlreadyExists */
  create(ctx: Context, image: ImageWrite): Promise<Image>
  /** `fieldpaths`: `labels`, `labels.<key>`, `annotations`, `annotations.<key>`, `target`; empty replaces labels and target. */
  update(ctx: Context, image: ImageWrite, fieldpaths: readonly string[]): Promise<Image>
  /** With `target`, only when the image still points to that digest. @throws NotFound */
  delete(ctx: Context, name: string, target?: string): Promise<void>
}

/** The record of a container: what to run, not whether it runs. */
export interface Container {
  id: string
  labels: Labels
  image: string
  runtime: { name: string; options?: Any }
  /** The OCI runtime spec, verbatim. */
  spec?: Any
  snapshotter: string
  snapshotKey: string
  createdAt: Timestamp
  updatedAt: Timestamp
  extensions: Readonly<Record<string, Any>>
  sandbox: string
}

/** A container as its creator gives it. */
export type ContainerWrite = Omit<Container, 'createdAt' | 'updatedAt'>

/** The containers of the namespaces: records, not processes. */
export interface ContainerStore {
  /** @throws NotFound */
  get(ctx: Context, id: string): Promise<Container>
  /** In byte order of the ids. */
  list(ctx: Context, filters: readonly string[]): AsyncIterable<Container>
  /** @throws InvalidArgument, AlreadyExists */
  create(ctx: Context, container: ContainerWrite): Promise<Container>
  /** `fieldpaths`: `labels`, `labels.<key>`, `spec`, `extensions`, `extensions.<key>`, `image`, `snapshotkey`. */
  update(ctx: Context, container: ContainerWrite, fieldpaths: readonly string[]): Promise<Container>
  /** @throws NotFound */
  delete(ctx: Context, id: string): Promise<void>
}

/** A namespace and its labels. */
export interface Namespace {
  name: string
  labels: Labels
}

/** Namespaces are not themselves namespaced: the context's namespace is ignored. */
export interface NamespaceStore {
  /** Never NotFound: an unknown namespace has no labels. */
  get(ctx: Context, name: string): Promise<Namespace>
  /** In byte order. */
  list(ctx: Context): Promise<Namespace[]>
  /** @throws InvalidArgument, AlreadyExists */
  create(ctx: Context, namespace: Namespace): Promise<Namespace>
  /** `fieldpaths`: `labels.<key>`; empty replaces all labels. Creates the namespace when it is missing. */
  update(ctx: Context, namespace: Namespace, fieldpaths: readonly string[]): Promise<Namespace>
  /** @throws NotFound, FailedPrecondition naming what is still in it. */
  delete(ctx: Context, name: string): Promise<void>
}

/** What keeps objects from garbage collection for a while. */
export interface Lease {
  id: string
  labels: Labels
  createdAt: Timestamp
}

/** Something a lease keeps: `content`, `ingests`, `images` or `snapshots/<snapshotter>`. */
export interface LeaseResource {
  id: string
  type: string
}

/** Leases keep objects from garbage collection while nothing else refers to them. */
export interface LeaseManager {
  /** An empty id is replaced by a generated one. @throws AlreadyExists */
  create(ctx: Context, lease: { id: string; labels: Labels }): Promise<Lease>
  /** @throws NotFound */
  delete(ctx: Context, id: string): Promise<void>
  list(ctx: Context, filters: readonly string[]): AsyncIterable<Lease>
  /** @throws NotFound for the lease, InvalidArgument or Unimplemented for the type. Adding twice is harmless. */
  addResource(ctx: Context, id: string, resource: LeaseResource): Promise<void>
  /** A resource that is not there is no error. */
  deleteResource(ctx: Context, id: string, resource: LeaseResource): Promise<void>
  listResources(ctx: Context, id: string): Promise<LeaseResource[]>
}

/** What a mutation of the metadata tells whoever schedules garbage collection. */
export interface MetadataMutation {
  /** Something was deleted, so that a collection may find garbage. */
  readonly dirty: boolean
}

/** What a collection of garbage did, and how long it took. */
export interface CollectionStats {
  /** Time during which writers waited. */
  pauseMs: number
  totalMs: number
  removed: { content: number; snapshots: number; leases: number; ingests: number; images: number }
}

/** What garbage collection looks after. */
export type ObjectKind = 'lease' | 'image' | 'container' | 'content' | 'snapshot' | 'ingest'

/** An object that is kept or collected. */
export interface ObjectName {
  kind: ObjectKind
  namespace: string
  /** Its id, name, digest, ref or key. */
  id: string
  /** Of a snapshot. */
  snapshotter?: string
}

/** Why an object is kept, or that it is not. */
export interface Explanation {
  object: ObjectName
  exists: boolean
  kept: boolean
  /**
   * The shortest way from the object to a root: each step names what keeps the one before, and how. The last one has no `by`: it is a
   * root by itself. Empty when nothing keeps it.
   */
  because: { by?: ObjectName; how: string }[]
  /** Everything that keeps the object itself, one step away. */
  keepers: { by?: ObjectName; how: string }[]
}

/** An object that the next collection would remove. */
export interface Garbage {
  object: ObjectName
  /** What that frees on disk: 0 for what is only a name, or what another namespace keeps. */
  sizeBytes: number
}

/**
 * Names, labels, leases and references over a content store and snapshotters, per namespace.
 *
 * `content` and `snapshotters` are the namespaced views of the backends: what services serve. Every mutation is atomic, durable
 * before it is answered, and publishes its event.
 */
export interface MetadataStore {
  readonly content: ContentStore
  readonly snapshotters: ReadonlyMap<string, Snapshotter>
  readonly images: ImageStore
  readonly containers: ContainerStore
  readonly namespaces: NamespaceStore
  readonly leases: LeaseManager
  /** Removes everything that nothing keeps, in the metadata and then in the backends. One at a time. */
  collectGarbage(signal: AbortSignal): Promise<CollectionStats>
  /** Why objects with this id are kept or not; those that exist, or, when there is none, the one that is asked for. */
  explain(object: Pick<ObjectName, 'namespace' | 'id'> & Partial<ObjectName>): Promise<Explanation[]>
  /** What a collection would remove now, without doing so. */
  preview(signal: AbortSignal): Promise<Garbage[]>
  /** Called after every committed mutation; the result unsubscribes. */
  onMutation(listener: (mutation: MetadataMutation) => void): () => void
  close(): Promise<void>
}

/** Decides when garbage is collected, and tells of it when it is asked as a plugin. */
export interface GarbageCollector extends PluginInfoProvider {
  /** A complete collection that begins after this call; settled when the backends are swept too. @throws Unknown `gc failed` */
  collect(): Promise<CollectionStats>
  close(): Promise<void>
}
