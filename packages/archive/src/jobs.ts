import type { Mount } from '@containerd-ts/mount'
import type { SharedRing } from './byte-ring.js'
import type { TreeUsage } from './tree-usage.js'

/** Where a layer is unpacked. */
export type ApplyTarget =
  /** A directory; whiteouts remove. */
  | { kind: 'directory'; path: string }
  /** Mounts, which nobody else sees meanwhile; whiteouts remove. `tempRoot` is where a mount point is made. */
  | { kind: 'mounts'; mounts: readonly Mount[]; tempRoot: string }
  /** The upper directory of an overlay; whiteouts become its marks. `lowers`, the topmost first, are models for missing directories. */
  | { kind: 'overlay'; upper: string; lowers: readonly string[] }

/** What unpacking a layer gave. */
export interface Applied {
  /** Digest of the uncompressed stream, whatever follows the archive included. */
  digest: string
  /** Bytes of the uncompressed stream. */
  sizeBytes: number
  /** Sum of the sizes of all entries. */
  contentBytes: number
  /** What was left out, in sentences. */
  warnings: string[]
}

/** What a stream of bytes comes to. */
export interface StreamDigest {
  digest: string
  sizeBytes: number
}

/** What a thread tells of a layer that it has unpacked. */
export interface Unpacked {
  contentBytes: number
  warnings: string[]
  /** When the thread was to find it. */
  stream?: StreamDigest
}

/** What comparing two trees gave: digest and bytes of the uncompressed layer. */
export type Compared = StreamDigest

export interface ApplyJob {
  kind: 'apply'
  target: ApplyTarget
  ring: SharedRing
  /** How the bytes in the ring are encoded. */
  encoding: 'raw' | 'zstd'
  /** Whether this thread is to find the digest of the decompressed bytes as well. */
  digest: boolean
  /** Whether all is to be on disk in the end. */
  sync: boolean
}

/** Finds the digest of what comes through a ring that another thread reads as well. */
export interface DigestJob {
  kind: 'digest'
  ring: SharedRing
}

export interface CompareJob {
  kind: 'compare'
  lower: readonly Mount[]
  upper: readonly Mount[]
  tempRoot: string
  latestSeconds?: number
  /** See `chunk-flow.ts`. */
  flow: Int32Array<SharedArrayBuffer>
}

export interface MeasureJob {
  kind: 'measure'
  path: string
  /** Only what is not as in this tree counts. */
  base?: string
  /** Not zero once the event loop gave up. */
  stop: Int32Array<SharedArrayBuffer>
}

export interface CopyJob {
  kind: 'copy'
  source: string
  target: string
  stop: Int32Array<SharedArrayBuffer>
}

export interface RemoveJob {
  kind: 'remove'
  path: string
  stop: Int32Array<SharedArrayBuffer>
}

export type Job = ApplyJob | CompareJob | MeasureJob | CopyJob | RemoveJob

/** An error on its way between threads, which keep only its message otherwise. */
export interface SentError {
  name: string
  message: string
  code?: string
  errno?: number
  syscall?: string
}

export type Report =
  | { type: 'drain' }
  | { type: 'chunk'; bytes: Uint8Array<ArrayBuffer> }
  | { type: 'applied'; result: Unpacked }
  | { type: 'digested'; result: StreamDigest }
  | { type: 'compared'; result: Compared }
  | { type: 'measured'; result: TreeUsage }
  | { type: 'copied' }
  | { type: 'removed' }
  /** `unusable`: the thread cannot take another job. */
  | { type: 'failed'; error: SentError; unusable: boolean }

export function toSentError(error: unknown): SentError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const { name, message } = error
  const { code, errno, syscall } = error as NodeJS.ErrnoException
  return {
    name,
    message,
    ...(typeof code === 'string' && { code }),
    ...(typeof errno === 'number' && { errno }),
    ...(typeof syscall === 'string' && { syscall }),
  }
}

export function fromSentError({ name, message, ...details }: SentError): Error {
  return Object.assign(new Error(message), { name }, details)
}
