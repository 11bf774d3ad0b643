import { posix } from 'node:path'
import { type StreamedEntry, TarError, TarType, tarEntries } from '@containerd-ts/archive'
import { maxDocumentBytes, parseJson, storeBlob } from '@containerd-ts/images'
import {
  type ContentStore,
  type Context,
  digestProblem,
  InvalidArgumentError,
  isFailedPrecondition,
  quote,
} from '@containerd-ts/interface'
import { type StoredBlob, storeUnknown, withIngest } from './ingest.js'
import { wholeFile } from './sparse-file.js'

/** What an archive was found to hold once its blobs were stored. */
export interface ArchiveContents {
  /** Whether it says to be an OCI image layout, of a version that is known. */
  isLayout: boolean
  /** Bytes of `index.json`. */
  index?: Buffer
  /** Bytes of `manifest.json`. */
  manifest?: Buffer
  /** The file of that name or at the end of the links from it, undefined when there is none. */
  find(name: string): StoredBlob | undefined
}

const layoutVersion = '1.0.0'
// What names and links may take in memory: enough for hundreds of thousands.
const maxNameBytes = 64 * 1024 * 1024
const nameOverhead = 64
// As many as Linux follows.
const maxLinks = 40

/**
 * Reads an uncompressed archive to its end and stores its files: those below `blobs/` under the digests that are their names, all others
 * under the digests that they have.
 *
 * @throws InvalidArgumentError for an archive that is damaged, inconsistent or unreasonable, and what the store and the source throw.
 */
export async function storeContents(
  ctx: Context,
  store: ContentStore,
  archive: AsyncIterable<Uint8Array>,
): Promise<ArchiveContents> {
  const blobs = new Map<string, StoredBlob>()
  const links = new Map<string, string>()
  const contents: ArchiveContents = { isLayout: false, find: (name) => find(name, blobs, links) }
  let nameBytes = 0

  function remember(name: string, target: string): void {
    nameBytes += Buffer.byteLength(name) + Buffer.byteLength(target) + nameOverhead
    if (nameBytes > maxNameBytes) throw new InvalidArgumentError('the archive has too many files')
    blobs.delete(name)
    links.delete(name)
  }

  for await (const entry of tarEntries(archive)) {
    ctx.signal.throwIfAborted()
    const { type, linkName } = entry.header
    const name = posix.normalize(entry.header.name.toString())
    if (type === TarType.Symlink || type === TarType.Link) {
      const target = linkName.toString()
      remember(name, target)
      links.set(name, type === TarType.Link ? posix.normalize(target) : posix.join(posix.dirname(name), target))
    }
    if (type !== TarType.Regular) continue
    try {
      switch (name) {
        case 'oci-layout':
          checkLayout(await readDocument(entry))
          contents.isLayout = true
          break
        case 'index.json':
          contents.index = await readDocument(entry)
          break
        case 'manifest.json':
          contents.manifest = await readDocument(entry)
          break
        default:
          remember(name, '')
          blobs.set(name, await storeFile(ctx, store, name, entry))
      }
    } catch (error) {
      throw error instanceof TarError ? entryError(name, error.message, error) : error
    }
  }
  return contents
}

function find(name: string, blobs: ReadonlyMap<string, StoredBlob>, links: ReadonlyMap<string, string>): StoredBlob | undefined {
  let path: string | undefined = posix.normalize(name)
  for (let followed = 0; path !== undefined && followed <= maxLinks; followed++) {
    const blob = blobs.get(path)
    if (blob !== undefined) return blob
    path = links.get(path)
  }
  return undefined
}

async function storeFile(ctx: Context, store: ContentStore, name: string, entry: StreamedEntry): Promise<StoredBlob> {
  const sizeBytes = entry.header.size
  const [, algorithm, hex] = /^blobs\/([^/]+)\/([^/]+)$/.exec(name) ?? []
  const digest = `${algorithm}:${hex}`
  if (digestProblem(digest) !== undefined) return storeUnknown(ctx, store, wholeFile(entry), { sizeBytes })
  try {
    await withIngest(ctx, store, (ref) => storeBlob(ctx, store, { digest, sizeBytes }, { ref, bytes: () => wholeFile(entry) }))
  } catch (error) {
    if (isFailedPrecondition(error)) throw entryError(name, 'its content has another digest', error)
    throw error
  }
  return { digest, sizeBytes }
}

async function readDocument(entry: StreamedEntry): Promise<Buffer> {
  const { name, size } = entry.header
  if (size > maxDocumentBytes) throw entryError(name.toString(), `${size} bytes, at most ${maxDocumentBytes} are expected`)
  const bytes = Buffer.alloc(size)
  let filled = 0
  for await (const piece of wholeFile(entry)) {
    bytes.set(piece, filled)
    filled += piece.length
  }
  return bytes
}

function checkLayout(bytes: Buffer): void {
  const layout = parseJson(bytes, 'oci-layout')
  const isObject = typeof layout === 'object' && layout !== null
  const version = isObject && 'imageLayoutVersion' in layout ? layout.imageLayoutVersion : undefined
  if (version !== layoutVersion) throw new InvalidArgumentError(`unsupported OCI version ${JSON.stringify(version)}`)
}

function entryError(name: string, what: string, cause?: unknown): Error {
  return new InvalidArgumentError(`archive entry ${quote(name)}: ${what}`, { cause })
}
