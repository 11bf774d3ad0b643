import {
  type ContentStore,
  type ImageStore,
  type ImageVerifier,
  type LeaseManager,
  type TransferEnd,
  type TransferProgress,
  type Transferrer,
  UnimplementedError,
} from '@containerd-ts/interface'
import { exportImages, importImages } from './archives.js'
import { withLease } from './lease.js'
import { nameImage } from './name-images.js'
import { pull } from './pull.js'
import { push } from './push.js'
import { registryName } from './registry.js'
import { createKeyedTurns, createTurns, type KeyedTurns, type Turns } from './turns.js'
import type { UnpackTarget } from './unpack.js'

/** What a transferrer works with. */
export interface TransferOptions {
  content: ContentStore
  images: ImageStore
  leases: LeaseManager
  /** Asked, all of them, before an image is pulled; by the name of the plugin. */
  verifiers: ReadonlyMap<string, ImageVerifier>
  /** Where images can be unpacked, best first. */
  targets: readonly UnpackTarget[]
  /** Directory of `<host>/hosts.toml`; empty for none. */
  hostDir: string
  /** What registries get to see as the client. */
  userAgent: string
  /** Blobs at a time that come from registries, in all transfers together; 0 for any number. */
  maxDownloads: number
  /** Blobs at a time that go to registries; 0 for any number. */
  maxUploads: number
}

/** What the operations share. */
export interface LocalTransfer extends TransferOptions {
  downloads: Turns
  uploads: Turns
  turns: KeyedTurns
}

/** Takes what happens; absent when nobody wants to know. */
export type Report = ((progress: TransferProgress) => void) | undefined

/** Moves images between registries, archives and the stores of this daemon. What a transfer makes is held by a lease until it has a name. */
export function createTransferrer(options: TransferOptions): Transferrer {
  const local: LocalTransfer = {
    ...options,
    downloads: createTurns(options.maxDownloads),
    uploads: createTurns(options.maxUploads),
    turns: createKeyedTurns(),
  }
  return {
    transfer: (ctx, source, destination, report) =>
      withLease(ctx, local.leases, async (held) => {
        switch (source.kind) {
          case 'registry':
            if (destination.kind === 'image-store') return pull(local, held, source, destination, report)
            break
          case 'import':
            if (destination.kind === 'image-store') return importImages(local, held, source, destination, report)
            // Of no use but to try the streams.
            if (destination.kind === 'export') return destination.write(source.bytes)
            break
          case 'image-store':
            if (destination.kind === 'registry') return push(local, held, source, destination, report)
            if (destination.kind === 'export') return exportImages(local, held, source, destination, report)
            if (destination.kind === 'image-store') {
              const { target } = await local.images.get(held, source.name)
              await nameImage(held, local.images, destination, target)
              return
            }
        }
        throw new UnimplementedError(`unable to transfer from ${nameOf(source)} to ${nameOf(destination)}`)
      }),
  }
}

function nameOf(end: TransferEnd): string {
  switch (end.kind) {
    case 'registry':
      return registryName(end)
    case 'image-store':
      return `Local Image Store (${end.name})`
    case 'other':
      return end.object.typeUrl
    default:
      return `an archive to ${end.kind}`
  }
}
