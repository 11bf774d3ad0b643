import { decompress, peekEncoding, TarError } from '@containerd-ts/archive'
import { childLabels, type ImageDescriptor, parseIndex } from '@containerd-ts/images'
import { type ContentStore, type Context, InvalidArgumentError, UnimplementedError } from '@containerd-ts/interface'
import { storeContents } from './archive-contents.js'
import { type CancellableSource, cancellable } from './cancellable.js'
import { storeDockerImages } from './docker-archive.js'
import { storeDocument } from './ingest.js'

/** How an archive is imported. */
export interface ImportOptions {
  /** Gzip layers of docker archives that are not compressed. */
  forceCompress?: boolean
}

/**
 * Reads an OCI image layout or what `docker save` writes, old and new, compressed with gzip or zstd or not; stores its blobs and then an
 * index of its images, which is returned. Where an archive is both, its `index.json` counts.
 *
 * The index has the labels by which garbage collection finds its manifests, and so have the manifests that are made here of Docker's
 * `manifest.json`; those that came with the archive are left to the caller. What is stored is kept by the lease of `ctx` only, until
 * something refers to the index. The archive is read up to its end mark, and is closed when the promise settles.
 *
 * @throws InvalidArgumentError for what is no such archive, damaged, truncated or inconsistent, the reason of an aborted `ctx.signal`, and
 * what the store and the archive throw. Blobs that were stored before stay.
 */
export async function importArchive(
  ctx: Context,
  store: ContentStore,
  archive: AsyncIterable<Uint8Array>,
  options: ImportOptions = {},
): Promise<ImageDescriptor> {
  const source = cancellable(archive, ctx.signal)
  try {
    const contents = await storeContents(ctx, store, await decompressed(source))
    const { isLayout, index, manifest } = contents
    if (index !== undefined) {
      const labels = childLabels(parseIndex(index, 'index.json'))
      return await storeDocument(ctx, store, index, { mediaType: 'application/vnd.oci.image.index.v1+json', labels })
    }
    if (isLayout) throw new InvalidArgumentError('missing index.json in OCI layout')
    if (manifest === undefined) throw new InvalidArgumentError('unrecognized image format')
    const { forceCompress = false } = options
    return await storeDockerImages(ctx, store, { ...contents, manifest }, { forceCompress })
  } catch (error) {
    throw isDamage(error) ? new InvalidArgumentError(`archive: ${error.message}`, { cause: error }) : error
  } finally {
    await source.close()
  }
}

async function decompressed(source: CancellableSource): Promise<AsyncIterable<Uint8Array>> {
  const { encoding, bytes } = await peekEncoding(source)
  const plain = decompress(encoding, bytes, source.close)
  if (plain === undefined) throw new UnimplementedError(`archives compressed with ${encoding} need Node 22.15 or libzstd`)
  return plain
}

function isDamage(error: unknown): error is Error {
  if (error instanceof TarError) return true
  return error instanceof Error && 'code' in error && /^(Z|ZSTD)_/.test(String(error.code))
}
