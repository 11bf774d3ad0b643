import { createHash } from 'node:crypto'
import { encodeHeader, endOfArchive, padded, TarType } from '@containerd-ts/archive'
import { blobPieces, type PlatformMatcher } from '@containerd-ts/images'
import { type ContentStore, type Context, DataLossError, type Descriptor, parseDigest } from '@containerd-ts/interface'
import { type ArchiveFile, collectFiles } from './export-files.js'

/** An image and the name that it gets in the archive. */
export interface ExportedImage {
  name: string
  /** A manifest or an index. */
  target: Descriptor
}

/** What of the images is exported, and how. */
export interface ExportOptions {
  /** What of an index is exported, and which of its images is the one that Docker's `manifest.json` lists. */
  platform: PlatformMatcher
  /** Export all that an index lists, and require it to be there. */
  allPlatforms?: boolean
  /** Leave out Docker's `manifest.json`. */
  skipCompatibilityManifest?: boolean
  /** Leave out layers that registries do not hold. */
  skipNonDistributable?: boolean
}

const pieceBytes = 1024 * 1024

/**
 * An OCI image layout as a tar stream in pieces of at most 1 MiB, with Docker's `manifest.json` unless skipped. The same images in the
 * same order always give the same bytes. An index is exported as it is, also when some of what it lists is not.
 *
 * Before the first piece everything is found to be there:
 *
 * @throws NotFoundError for what is missing, and when an index has nothing for the platform; InvalidArgumentError for a target that is
 * neither manifest nor index, content that is malformed, and names that Docker does not know how to write; DataLossError when bytes differ
 * from what their digest says; the reason of an aborted `ctx.signal`; and what the store throws.
 */
export async function* exportArchive(
  ctx: Context,
  store: ContentStore,
  images: readonly ExportedImage[],
  options: ExportOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const files = await collectFiles(ctx, store, images, options)
  let filler = Buffer.alloc(0)
  for (const file of files) {
    yield Buffer.concat([filler, headerOf(file)])
    for await (const piece of piecesOf(ctx, store, file)) yield piece
    filler = Buffer.alloc(padded(file.sizeBytes) - file.sizeBytes)
  }
  yield Buffer.concat([filler, endOfArchive])
}

async function* piecesOf(ctx: Context, store: ContentStore, { content }: ArchiveFile): AsyncGenerator<Buffer> {
  if (content === undefined) return
  if (typeof content === 'string') {
    yield* verifiedPieces(ctx, store, content)
    return
  }
  for (let offset = 0; offset < content.length; offset += pieceBytes) yield content.subarray(offset, offset + pieceBytes)
}

/** The end comes only when the bytes were those of the digest. */
async function* verifiedPieces(ctx: Context, store: ContentStore, digest: string): AsyncGenerator<Buffer> {
  const { algorithm, hex } = parseDigest(digest)
  const hash = createHash(algorithm)
  for await (const piece of blobPieces(ctx, store, digest)) {
    hash.update(piece)
    yield piece
  }
  if (hash.digest('hex') !== hex) throw new DataLossError(`content ${digest} has other bytes than its digest says`)
}

function headerOf({ name, mode, sizeBytes, content }: ArchiveFile): Buffer {
  return encodeHeader({
    name: Buffer.from(name),
    linkName: Buffer.alloc(0),
    type: content === undefined ? TarType.Directory : TarType.Regular,
    mode,
    uid: 0,
    gid: 0,
    size: sizeBytes,
    modified: { seconds: 0, nanos: 0 },
    major: 0,
    minor: 0,
    xattrs: new Map(),
  })
}
