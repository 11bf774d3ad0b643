import { createGzip } from 'node:zlib'
import { type Encoding, encodingOf, magicSize, transformed } from '@containerd-ts/archive'
import { blobPieces, type ImageDescriptor } from '@containerd-ts/images'
import type { ContentStore, Context } from '@containerd-ts/interface'
import { type StoredBlob, storeUnknown } from './ingest.js'

/** What is to be done with layers. */
export interface LayerOptions {
  /** Gzip those that are not compressed. */
  forceCompress: boolean
}

const uncompressedLabel = 'containerd.io/uncompressed'
const layerType = 'application/vnd.docker.image.rootfs.diff.tar'
const suffixes: Readonly<Record<Encoding, string>> = { raw: '', gzip: '.gzip', zstd: '.zstd' }

/**
 * Makes descriptors of layers, the media types by their content. A layer of which the store has a compressed form, as the label
 * `containerd.io/uncompressed` says, becomes that one.
 */
export function createLayerTypes(
  ctx: Context,
  store: ContentStore,
  { forceCompress }: LayerOptions,
): (layers: readonly StoredBlob[]) => Promise<ImageDescriptor[]> {
  // Images of one archive share most of their layers.
  const known = new Map<string, ImageDescriptor>()

  async function describe(blob: StoredBlob): Promise<ImageDescriptor> {
    const encoding = await readEncoding(ctx, store, blob)
    if (encoding !== 'raw' || !forceCompress) return descriptor(blob, encoding)
    const bytes = transformed(blobPieces(ctx, store, blob.digest), createGzip())
    return descriptor(
      await storeUnknown(ctx, store, bytes, { sizeBytes: 0, labels: { [uncompressedLabel]: blob.digest } }),
      'gzip',
    )
  }

  async function findCompressed(digests: readonly string[]): Promise<void> {
    if (digests.length === 0) return
    const filters = digests.map((digest) => `labels."${uncompressedLabel}"==${digest}`)
    for await (const { labels, digest, sizeBytes } of store.walk(ctx, filters)) {
      const uncompressed = labels[uncompressedLabel]
      if (uncompressed === undefined) continue
      const blob = { digest, sizeBytes }
      known.set(uncompressed, descriptor(blob, await readEncoding(ctx, store, blob)))
    }
  }

  return async (layers) => {
    await findCompressed([...new Set(layers.map(({ digest }) => digest))].filter((digest) => !known.has(digest)))
    const described: ImageDescriptor[] = []
    for (const layer of layers) {
      const found = known.get(layer.digest) ?? (await describe(layer))
      known.set(layer.digest, found)
      described.push(found)
    }
    return described
  }
}

function descriptor({ digest, sizeBytes }: StoredBlob, encoding: Encoding): ImageDescriptor {
  return { mediaType: `${layerType}${suffixes[encoding]}`, digest, sizeBytes, annotations: {} }
}

async function readEncoding(ctx: Context, store: ContentStore, { digest }: StoredBlob): Promise<Encoding> {
  const reader = await store.reader(ctx, digest)
  try {
    const start = Buffer.alloc(magicSize)
    return encodingOf(start.subarray(0, await reader.read(start, 0)))
  } finally {
    await reader.close()
  }
}
