import type { Timestamp } from '@containerd-ts/api'
import type { Labels } from './content.js'
import type { Context } from './context.js'

/** Whether a snapshot is read-only, writable or frozen. */
export type SnapshotKind = 'view' | 'active' | 'committed'

/** A snapshot as it is told of. */
export interface SnapshotInfo {
  kind: SnapshotKind
  /** The key of an active snapshot or view, the name of a committed one. */
  name: string
  /** Name of the committed parent, empty when there is none. */
  parent: string
  labels: Labels
  createdAt: Timestamp
  updatedAt: Timestamp
}

/** What a snapshot takes on disk. */
export interface SnapshotUsage {
  inodes: number
  sizeBytes: number
}

/** One mount: the arguments of mount(8). */
export interface Mount {
  type: string
  source: string
  /** Path below the mount point, normally empty. */
  target: string
  options: string[]
}

/** What a new snapshot is given. */
export interface SnapshotOptions {
  labels?: Labels
}

/** What a snapshot is given when it is frozen. */
export interface SnapshotCommitOptions extends SnapshotOptions {
  /** A parent for a snapshot that was prepared without one. */
  parent?: string
}

/**
 * A store of filesystem trees in layers.
 *
 * Unpacking an image goes: `prepare(key, parent)` gives mounts of a writable tree on top of the committed parent, the differ unpacks a
 * layer there, `commit(name, key)` freezes it under a name that is the next layer's parent. A container gets `prepare(key, top)`, a
 * reader `view(key, top)`. `remove` drops any of them, children first.
 */
export interface Snapshotter {
  /** @throws NotFound */
  stat(ctx: Context, key: string): Promise<SnapshotInfo>
  /** Changes labels; `fieldpaths` as in `ContentStore.update`. @throws NotFound, InvalidArgument */
  update(ctx: Context, info: Pick<SnapshotInfo, 'name' | 'labels'>, fieldpaths: readonly string[]): Promise<SnapshotInfo>
  /** What the snapshot itself takes, without its parents. @throws NotFound */
  usage(ctx: Context, key: string): Promise<SnapshotUsage>
  /** Mounts of an active snapshot or a view. @throws NotFound, FailedPrecondition when it is committed. */
  mounts(ctx: Context, key: string): Promise<Mount[]>
  /** A writable snapshot. @throws AlreadyExists, NotFound for the parent, InvalidArgument when the parent is not committed. */
  prepare(ctx: Context, key: string, parent: string, options?: SnapshotOptions): Promise<Mount[]>
  /** A read-only snapshot. Errors as `prepare`. */
  view(ctx: Context, key: string, parent: string, options?: SnapshotOptions): Promise<Mount[]>
  /** Freezes an active snapshot; `key` is gone afterwards. @throws NotFound, AlreadyExists, FailedPrecondition when it is not active. */
  commit(ctx: Context, name: string, key: string, options?: SnapshotCommitOptions): Promise<void>
  /** @throws NotFound, FailedPrecondition when it has children; the text contains `remove`. */
  remove(ctx: Context, key: string): Promise<void>
  /** Snapshots that match any of `filters`. Other methods may be called while this is consumed. */
  walk(ctx: Context, filters: readonly string[]): AsyncIterable<SnapshotInfo>
  /** Deletes directories that no snapshot owns any more. Called after garbage collection. */
  cleanup?(ctx: Context): Promise<void>
  close?(): Promise<void>
}
