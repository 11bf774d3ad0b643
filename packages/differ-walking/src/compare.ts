import { randomBytes } from 'node:crypto'
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Archive } from '@containerd-ts/archive'
import {
  type CompareOptions,
  type ContentInfo,
  type ContentStore,
  type Context,
  type Descriptor,
  isAlreadyExists,
  type Mount,
  UnimplementedError,
} from '@containerd-ts/interface'
import { readonlyMounts } from '@containerd-ts/mount'
import type { compressorFor } from './compressor.js'
import { uncompressedLayer } from './media-types.js'

const uncompressedLabel = 'containerd.io/uncompressed'

export interface CompareDeps {
  archive: Archive
  content: ContentStore
  /** Where mount points are made. */
  tempRoot: string
}

/** Writes the layer between two trees into the content store; see `Differ.compare`. */
export async function compareTrees(
  deps: CompareDeps,
  ctx: Context,
  lower: readonly Mount[],
  upper: readonly Mount[],
  options: CompareOptions,
): Promise<Descriptor> {
  const { mediaType = `${uncompressedLayer}+gzip`, ref = `${process.hrtime.bigint()}-${randomBytes(6).toString('base64url')}` } =
    options
  if (mediaType !== layerTar && mediaType !== `${layerTar}+gzip`)
    throw new UnimplementedError(`unsupported diff media type: ${mediaType}`)
  try {
    return await writeLayer(deps, ctx, lower, upper, { ...options, mediaType, ref, compressor })
  } catch (error) {
    // A name that nobody else knows would stay behind.
    if (options.ref === undefined) await deps.content.abort(ctx, ref).catch(() => {})
    throw error
  }
}

async function writeLayer(
  deps: CompareDeps,
  ctx: Context,
  lower: readonly Mount[],
  upper: readonly Mount[],
  {
    mediaType,
    ref,
    compressor,
    labels = {},
    sourceDateEpoch,
  }: CompareOptions & { mediaType: string; ref: string; compressor: ReturnType<typeof compressorFor> },
): Promise<Descriptor> {
  const { archive, content, tempRoot } = deps
  const writer = await content.writer(ctx, { ref })
  try {
    if (writer.status().offset > 0) await writer.truncate()
    const comparison = archive.compare(lower, readonlyMounts(upper), {
      tempRoot,
      signal: ctx.signal,
      ...(sourceDateEpoch && { latestSeconds: sourceDateEpoch.seconds }),
    })
    const bytes = compressor === undefined ? comparison.bytes : compressed(comparison.bytes, compressor())
    for await (const chunk of bytes) await writer.write(chunk)
    const { digest: diffId } = await comparison.result
    const committed = { ...labels, ...(compressor !== undefined && { [uncompressedLabel]: diffId }) }
    const { digest, sizeBytes } = await commitOrFind(
      writer.digest(),
      committed,
      () => writer.commit(ctx, { labels: committed }),
      content,
      ctx,
    )
    return { mediaType, digest, sizeBytes, annotations: {} }
  } finally {
    await writer.close()
  }
}

async function* compressed(bytes: AsyncIterable<Uint8Array>, compressor: Transform): AsyncIterable<Uint8Array> {
  const piping = pipeline(bytes, compressor)
  // Told by the stream that is read, too.
  piping.catch(() => {})
  yield* compressor
  await piping
}

/** A layer that is there already is as good; it only has to know its uncompressed digest. */
async function commitOrFind(
  digest: string,
  labels: Readonly<Record<string, string>>,
  commit: () => Promise<ContentInfo>,
  content: ContentStore,
  ctx: Context,
): Promise<ContentInfo> {
  try {
    return await commit()
  } catch (error) {
    if (!isAlreadyExists(error)) throw error
  }
  const existing = await content.info(ctx, digest)
  const diffId = labels[uncompressedLabel]
  if (diffId === undefined || existing.labels[uncompressedLabel] !== undefined) return existing
  return content.update(ctx, { digest, labels: { [uncompressedLabel]: diffId } }, [`labels.${uncompressedLabel}`])
}
