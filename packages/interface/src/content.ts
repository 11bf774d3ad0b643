import type { Timestamp } from '@containerd-ts/api'
import type { Context } from './context.js'

/** Labels of an object by their keys. */
export type Labels = Readonly<Record<string, string>>

/** A committed blob. */
export interface ContentInfo {
  digest: string
  sizeBytes: number
  createdAt: Timestamp
  updatedAt: Timestamp
  labels: Labels
}

/** An unfinished write (an ingest). */
export interface IngestStatus {
  ref: string
  /** Bytes written so far. */
  offset: number
  /** Expected size, 0 when unknown. */
  total: number
  /** Expected digest, empty when unknown. */
  expected: string
  startedAt: Timestamp
  updatedAt: Timestamp
}

/** Which ingest a writer is for. */
export interface WriterOptions {
  /** Name of the ingest: opening the same ref later resumes it. Not empty. */
  ref: string
  /** Expected size, 0 when unknown. A resumed ingest with another total starts again from nothing. */
  total?: number
  /** Expected digest. When such a blob exists already, opening fails with AlreadyExists. */
  expected?: string
}

/** What a commit expects, and the labels of the blob. */
export interface CommitOptions {
  /** Expected size, 0 to accept any. */
  sizeBytes?: number
  /** Expected digest, empty to accept any; its algorithm becomes the blob's. */
  expected?: string
  labels?: Labels
}

/**
 * A store of immutable blobs named by their digest.
 *
 * A blob arrives through a writer: `writer()` locks the ref, `write()` appends, `commit()` verifies, syncs and publishes under the
 * digest. A writer closed without commit leaves an ingest that a later `writer()` of the same ref resumes. What `commit()` has
 * acknowledged survives a crash.
 */
export interface ContentStore {
  /** @throws InvalidArgument for a malformed digest, NotFound. */
  info(ctx: Context, digest: string): Promise<ContentInfo>
  /**
   * Changes labels. `fieldpaths` holds `labels` or `labels.<key>`; empty replaces all labels.
   * @throws NotFound, InvalidArgument for any other path, and with nothing changed.
   */
  update(ctx: Context, info: Pick<ContentInfo, 'digest' | 'labels'>, fieldpaths: readonly string[]): Promise<ContentInfo>
  /** Blobs that match any of `filters`, all when there are none. Entries may be deleted while this is consumed. */
  walk(ctx: Context, filters: readonly string[]): AsyncIterable<ContentInfo>
  /** @throws NotFound */
  delete(ctx: Context, digest: string): Promise<void>
  /** @throws InvalidArgument, NotFound */
  reader(ctx: Context, digest: string): Promise<ContentReader>
  /** @throws NotFound */
  status(ctx: Context, ref: string): Promise<IngestStatus>
  listStatuses(ctx: Context, filters: readonly string[]): Promise<IngestStatus[]>
  /** Removes an ingest and its bytes. @throws NotFound */
  abort(ctx: Context, ref: string): Promise<void>
  /** @throws InvalidArgument, AlreadyExists when `expected` is committed, Unavailable when the ref is locked by another writer. */
  writer(ctx: Context, options: WriterOptions): Promise<ContentWriter>
}

/** Random access to one blob. */
export interface ContentReader {
  readonly sizeBytes: number
  /** Fills `target` from `offset`; gives back how many bytes were there. */
  read(target: Uint8Array, offset: number): Promise<number>
  /** Ends the use; never throws. */
  close(): Promise<void>
}

/** The one writer of a ref. After `commit()`, successful or not, and after `close()` it is of no more use. */
export interface ContentWriter {
  /** The state of the ingest now. */
  status(): IngestStatus
  /** Digest of the bytes so far, sha256. */
  digest(): string
  /** Appends. The bytes may be reused by the caller as soon as the promise is settled. */
  write(data: Uint8Array): Promise<void>
  /** Starts again from nothing. */
  truncate(): Promise<void>
  /**
   * Verifies, syncs and publishes.
   * @throws FailedPrecondition when size or digest differ (the ingest stays), AlreadyExists (the ingest is removed).
   */
  commit(ctx: Context, options: CommitOptions): Promise<ContentInfo>
  /** Releases the ref; uncommitted bytes stay. Closing twice is harmless. */
  close(): Promise<void>
}
