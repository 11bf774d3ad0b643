import type { Any, Timestamp } from '@containerd-ts/api'
import type { Labels } from './content.js'
import type { Context } from './context.js'
import type { Descriptor } from './metadata.js'
import type { Mount } from './snapshots.js'

/** How a layer is unpacked. */
export interface ApplyOptions {
  /** Payloads for stream processors, by their id. */
  payloads?: Readonly<Record<string, Any>>
  /** Have what was unpacked on disk before answering, so that a power cut leaves nothing half written. Default true. */
  syncFs?: boolean
}

/** What kind of layer is made, and where to. */
export interface CompareOptions {
  /** Default `application/vnd.oci.image.layer.v1.tar+gzip`. */
  mediaType?: string
  /** The content ref to write under; an unfinished ingest of that name is started again. Default: a unique one. */
  ref?: string
  labels?: Labels
  /** Upper bound of every entry's modification time. */
  sourceDateEpoch?: Timestamp
}

/** Turns layers into trees and trees into layers. */
export interface Differ {
  /**
   * Unpacks the layer `descriptor` of the namespaced content store onto `mounts`. The result names the uncompressed stream.
   * @throws Unimplemented when this differ does not know the media type; the next one is asked.
   */
  apply(ctx: Context, descriptor: Descriptor, mounts: readonly Mount[], options?: ApplyOptions): Promise<Descriptor>
  /**
   * Writes the layer that makes `upper` of `lower` into the namespaced content store.
   * @throws Unimplemented for an unknown media type.
   */
  compare(ctx: Context, lower: readonly Mount[], upper: readonly Mount[], options?: CompareOptions): Promise<Descriptor>
}
