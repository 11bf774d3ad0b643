import {
  type ImageDescriptor,
  isIndexType,
  isManifestType,
  isNonDistributable,
  maxDocumentBytes,
  type PlatformMatcher,
  parseManifest,
  readBlob,
  readChildren,
} from '@containerd-ts/images'
import {
  type ContentStore,
  type Context,
  type Descriptor,
  InvalidArgumentError,
  NotFoundError,
  parseDigest,
  quote,
} from '@containerd-ts/interface'
import type { ExportedImage, ExportOptions } from './export-archive.js'
import { descriptorJson, encodeJson } from './json.js'
import { familiarReference, imageNameAnnotation, ociReferenceName, refNameAnnotation } from './references.js'

/** A file of the archive. */
export interface ArchiveFile {
  name: string
  mode: number
  sizeBytes: number
  /** Bytes, or the digest of those that are in the store; undefined for a directory. */
  content: Buffer | string | undefined
}

const sourceLabel = 'containerd.io/distribution.source'
const indexType = 'application/vnd.oci.image.index.v1+json'

/** An image as Docker's `manifest.json` lists it. */
interface DockerImage {
  manifest: Descriptor
  names: string[]
}

/**
 * The files of an archive with these images, in the order of their names. All blobs are in the store.
 *
 * @throws as `exportArchive` does before its first piece.
 */
export async function collectFiles(
  ctx: Context,
  store: ContentStore,
  images: readonly ExportedImage[],
  options: ExportOptions,
): Promise<ArchiveFile[]> {
  const { platform, allPlatforms = false, skipCompatibilityManifest = false, skipNonDistributable = false } = options
  const blobs = new Map<string, ArchiveFile>()
  const visited = new Set<string>()
  const dockerImages = new Map<string, DockerImage>()
  const preferred = new Map<string, Descriptor | undefined>()

  async function addBlob({ digest, sizeBytes, mediaType }: Descriptor): Promise<void> {
    if (blobs.has(digest) || (skipNonDistributable && isNonDistributable(mediaType))) return
    const info = await store.info(ctx, digest)
    if (info.sizeBytes !== sizeBytes) {
      throw new InvalidArgumentError(`content ${digest} has ${info.sizeBytes} bytes, its descriptor says ${sizeBytes}`)
    }
    const { algorithm, hex } = parseDigest(digest)
    blobs.set(digest, { name: `blobs/${algorithm}/${hex}`, mode: 0o444, sizeBytes, content: digest })
  }

  /** The blob and all below it. */
  async function addTree(root: Descriptor): Promise<void> {
    const open = [root]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      ctx.signal.throwIfAborted()
      // One digest may be called by several types.
      const key = `${next.digest} ${next.mediaType}`
      if (visited.has(key)) continue
      visited.add(key)
      await addBlob(next)
      open.push(...(await readChildren(ctx, store, next)))
    }
  }

  /** Adds what is wanted of an index; gives back the image that is liked best of it. */
  async function addIndex(index: Descriptor): Promise<Descriptor | undefined> {
    await addBlob(index)
    const children = await readChildren(ctx, store, index)
    const matching = children.filter((child) => child.platform === undefined || platform.matches(child.platform))
    if (matching.length === 0 && !allPlatforms) {
      throw new NotFoundError(`no manifest found for platform in index ${index.digest}`)
    }
    for (const child of allPlatforms ? children : matching) await addTree(child)
    return matching.filter(({ mediaType }) => isManifestType(mediaType)).sort(byPreference(platform))[0]
  }

  function addDockerImage(manifest: Descriptor, name: string): void {
    const image = dockerImages.get(manifest.digest) ?? { manifest, names: [] }
    dockerImages.set(manifest.digest, image)
    if (name !== '') image.names.push(name)
  }

  const listed: Descriptor[] = []
  for (const { name, target } of images) {
    listed.push(await annotate(ctx, store, name, target))
    if (isManifestType(target.mediaType)) {
      await addTree(target)
      addDockerImage(target, name)
    } else if (isIndexType(target.mediaType)) {
      if (!preferred.has(target.digest)) preferred.set(target.digest, await addIndex(target))
      const manifest = preferred.get(target.digest)
      if (manifest !== undefined) addDockerImage(manifest, name)
    } else {
      throw new InvalidArgumentError(`image ${quote(name)}: ${target.mediaType}: only manifests may be exported`)
    }
  }

  const files = [
    document('oci-layout', 0o444, { imageLayoutVersion: '1.0.0' }),
    document('index.json', 0o644, { schemaVersion: 2, mediaType: indexType, manifests: listed.map(descriptorJson) }),
    ...blobs.values(),
    ...directoriesOf(blobs.keys()),
  ]
  if (!skipCompatibilityManifest && dockerImages.size > 0) {
    const entries = []
    for (const image of dockerImages.values()) entries.push(await dockerEntry(ctx, store, image))
    files.push(document('manifest.json', 0o644, entries))
  }
  return files.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** What is for no platform comes last. */
function byPreference(platform: PlatformMatcher): (a: ImageDescriptor, b: ImageDescriptor) => number {
  return (a, b) => {
    if (a.platform === undefined || b.platform === undefined) {
      return Number(a.platform === undefined) - Number(b.platform === undefined)
    }
    return platform.compare(a.platform, b.platform)
  }
}

/** Says how an image is called and where it came from. */
async function annotate(ctx: Context, store: ContentStore, name: string, target: Descriptor): Promise<Descriptor> {
  const { mediaType, digest, sizeBytes, annotations } = target
  const { labels } = await store.info(ctx, digest)
  const sources = Object.entries(labels).filter(([key]) => key.startsWith(sourceLabel))
  const names = { [imageNameAnnotation]: name, [refNameAnnotation]: ociReferenceName(name) }
  return { mediaType, digest, sizeBytes, annotations: { ...annotations, ...names, ...Object.fromEntries(sources) } }
}

async function dockerEntry(ctx: Context, store: ContentStore, { manifest, names }: DockerImage): Promise<object> {
  const bytes = await readBlob(ctx, store, manifest.digest, maxDocumentBytes)
  const { config, layers } = parseManifest(bytes, `content ${manifest.digest}`)
  return {
    Config: pathOf(config),
    RepoTags: listOrNull(names.map(familiarReference)),
    Layers: listOrNull(layers.map(pathOf)),
  }
}

function pathOf({ digest }: Descriptor): string {
  const { algorithm, hex } = parseDigest(digest)
  return `blobs/${algorithm}/${hex}`
}

/** As Go writes it. */
function listOrNull(items: string[]): string[] | null {
  return items.length > 0 ? items : null
}

function document(name: string, mode: number, value: unknown): ArchiveFile {
  const content = encodeJson(value)
  return { name, mode, sizeBytes: content.length, content }
}

function directoriesOf(digests: Iterable<string>): ArchiveFile[] {
  const algorithms = new Set([...digests].map((digest) => parseDigest(digest).algorithm))
  const names = algorithms.size > 0 ? ['blobs/', ...[...algorithms].map((algorithm) => `blobs/${algorithm}/`)] : []
  return names.map((name) => ({ name, mode: 0o755, sizeBytes: 0, content: undefined }))
}
