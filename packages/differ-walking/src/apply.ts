import { open } from 'node:fs/promises'
import type { ApplyTarget, Archive } from '@containerd-ts/archive'
import {
  type ApplyOptions,
  type ContentStore,
  type Context,
  DataLossError,
  type Descriptor,
  type Mount,
  UnknownError,
} from '@containerd-ts/interface'
import { inUserNamespace, syncFilesystem } from '@containerd-ts/linux'
import { overlayDirectories } from '@containerd-ts/mount'
import { layerCompression, uncompressedLayer } from './media-types.js'

const readBytes = 1024 * 1024

export interface ApplyDeps {
  archive: Archive
  content: ContentStore
  /** Where mount points are made. */
  tempRoot: string
}

/** Unpacks a layer of the content store onto mounts; see `Differ.apply`. */
export async function applyLayer(
  deps: ApplyDeps,
  ctx: Context,
  descriptor: Descriptor,
  mounts: readonly Mount[],
  options: ApplyOptions,
): Promise<Descriptor> {
  const compression = layerCompression(descriptor.mediaType)
  if (compression === undefined) {
    throw new UnknownError(`failed to get stream processor for ${descriptor.mediaType}: no processor for media-type`)
  }
  const target = targetOf(mounts, deps.tempRoot)
  const layer = blobBytes(deps.content, ctx, descriptor.digest)
  const { digest, sizeBytes, warnings } = await deps.archive.apply(layer, target, { compression, signal: ctx.signal })
  for (const warning of warnings) ctx.log.warn('unpacked a layer with a reservation', { digest: descriptor.digest, warning })
  if (options.syncFs === true) await syncTarget(mounts)
  return { mediaType: uncompressedLayer, digest, sizeBytes, annotations: {} }
}

/** A single overlay is unpacked straight into its upper directory: nothing needs to be mounted, nothing copied up. */
function targetOf(mounts: readonly Mount[], tempRoot: string): ApplyTarget {
  const [only] = mounts
  if (mounts.length === 1 && only?.type === 'overlay' && !inUserNamespace()) {
    const { upper, lowers } = overlayDirectories(only.options)
    if (upper !== undefined) return { kind: 'overlay', upper, lowers }
  }
  return { kind: 'mounts', mounts, tempRoot }
}

async function* blobBytes(content: ContentStore, ctx: Context, digest: string): AsyncIterable<Uint8Array> {
  const reader = await content.reader(ctx, digest)
  try {
    for (let offset = 0; offset < reader.sizeBytes; ) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(readBytes, reader.sizeBytes - offset))
      const length = await reader.read(chunk, offset)
      if (length === 0) throw new DataLossError(`content ${digest} ends at ${offset} of ${reader.sizeBytes} bytes`)
      yield chunk.subarray(0, length)
      offset += length
    }
  } finally {
    await reader.close()
  }
}

/** Writes the filesystems that the mounts' trees lie on to disk. */
async function syncTarget(mounts: readonly Mount[]): Promise<void> {
  for (const { type, source, options } of mounts) {
    const path = type === 'overlay' ? overlayDirectories(options).upper : source
    if (path === undefined) continue
    const handle = await open(path, 'r')
    try {
      await syncFilesystem(handle.fd)
    } finally {
      await handle.close()
    }
  }
}
