import { type ContentStore, type Context, type Descriptor, digestProblem, InvalidArgumentError } from '@containerd-ts/interface'
import { readBlob } from './blobs.js'
import { isDocumentType, isIndexType, isManifestType } from './media-types.js'
import { normalizePlatform, type Platform } from './platforms.js'

/** Larger manifests, indexes and configurations are not read: 8 MiB, containerd's limit. */
export const maxDocumentBytes = 8 * 1024 * 1024

/** What an index, a manifest or an archive's `index.json` points to. */
export interface ImageDescriptor extends Descriptor {
  platform?: Platform
  /** Where a layer is to be had that registries do not hold. */
  urls?: readonly string[]
}

/** The parts of an image's configuration that say what it runs on and what its layers are. */
export interface ImageConfig {
  platform: Platform
  /** Kind of its root filesystem, `layers` or empty. */
  rootfsType: string
  /** Digests of the uncompressed layers, lowest first. */
  diffIds: readonly string[]
}

/**
 * What a manifest (its configuration and layers) or an index (its manifests) points to; nothing for all other media types.
 *
 * @throws InvalidArgumentError when the content is not what its media type says, NotFound.
 */
export async function readChildren(ctx: Context, store: ContentStore, descriptor: Descriptor): Promise<ImageDescriptor[]> {
  if (!isDocumentType(descriptor.mediaType)) return []
  return parseChildren(await readBlob(ctx, store, descriptor.digest, maxDocumentBytes), descriptor)
}

/** As {@link readChildren}, of bytes. @throws InvalidArgumentError */
export function parseChildren(
  bytes: Uint8Array,
  { mediaType, digest }: Pick<Descriptor, 'mediaType' | 'digest'>,
): ImageDescriptor[] {
  const name = `content ${digest}`
  if (isIndexType(mediaType)) return parseIndex(bytes, name)
  if (!isManifestType(mediaType)) return []
  const { config, layers } = parseManifest(bytes, name)
  return [config, ...layers]
}

/** The configuration and the layers of an image. @throws InvalidArgumentError; `name` says what was read. */
export function parseManifest(bytes: Uint8Array, name: string): { config: ImageDescriptor; layers: ImageDescriptor[] } {
  const document = parseDocument(bytes, name)
  if (document['fsLayers'] !== undefined) throw new InvalidArgumentError(`${name}: manifests of schema 1 are not supported`)
  if (document['manifests'] !== undefined || isIndexType(textOf(document['mediaType']))) {
    throw new InvalidArgumentError(`${name}: expected manifest but found index`)
  }
  return {
    config: descriptorOf(document['config'], `${name}: config`),
    layers: listOf(document['layers'], `${name}: layers`).map((entry, index) => descriptorOf(entry, `${name}: layer ${index}`)),
  }
}

/** The manifests of an index. @throws InvalidArgumentError; `name` says what was read. */
export function parseIndex(bytes: Uint8Array, name: string): ImageDescriptor[] {
  const document = parseDocument(bytes, name)
  if (document['config'] !== undefined || document['layers'] !== undefined || isManifestType(textOf(document['mediaType']))) {
    throw new InvalidArgumentError(`${name}: expected index but found manifest`)
  }
  return listOf(document['manifests'], `${name}: manifests`).map((entry, index) =>
    descriptorOf(entry, `${name}: manifest ${index}`),
  )
}

/** The configuration of an image. @throws InvalidArgumentError, NotFound */
export async function readImageConfig(ctx: Context, store: ContentStore, digest: string): Promise<ImageConfig> {
  return parseImageConfig(await readBlob(ctx, store, digest, maxDocumentBytes), `content ${digest}`)
}

/** The configuration of an image. @throws InvalidArgumentError; `name` says what was read. */
export function parseImageConfig(bytes: Uint8Array, name: string): ImageConfig {
  const document = parseDocument(bytes, name)
  const rootfs = document['rootfs'] === undefined ? {} : recordOf(document['rootfs'], `${name}: rootfs`)
  const diffIds = listOf(rootfs['diff_ids'], `${name}: diff_ids`).map((diffId) => {
    const problem = digestProblem(textOf(diffId))
    if (problem !== undefined) throw new InvalidArgumentError(`${name}: diff id ${JSON.stringify(diffId)}: ${problem}`)
    return textOf(diffId)
  })
  return { platform: platformOf(document), rootfsType: textOf(rootfs['type']), diffIds }
}

type Json = Readonly<Record<string, unknown>>

/** Any JSON. @throws InvalidArgumentError; `name` says what was read. */
export function parseJson(bytes: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  } catch (error) {
    throw new InvalidArgumentError(`${name} is no JSON`, { cause: error })
  }
}

function parseDocument(bytes: Uint8Array, name: string): Json {
  return recordOf(parseJson(bytes, name), name)
}

function recordOf(value: unknown, name: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new InvalidArgumentError(`${name} is no object`)
  return value as Json
}

/** What Go writes for an empty list is null. */
function listOf(value: unknown, name: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new InvalidArgumentError(`${name} is no list`)
  return value
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

function descriptorOf(value: unknown, name: string): ImageDescriptor {
  const entry = recordOf(value, name)
  const digest = textOf(entry['digest'])
  const problem = digestProblem(digest)
  if (problem !== undefined) throw new InvalidArgumentError(`${name}: digest ${JSON.stringify(digest)}: ${problem}`)
  const size = entry['size']
  if (!Number.isSafeInteger(size) || Number(size) < 0) throw new InvalidArgumentError(`${name}: ${digest} has no valid size`)
  const urls = textsOf(entry['urls'])
  const platform = entry['platform']
  return {
    mediaType: textOf(entry['mediaType']),
    digest,
    sizeBytes: Number(size),
    annotations: annotationsOf(entry['annotations']),
    ...(urls.length > 0 && { urls }),
    ...(platform !== undefined && platform !== null && { platform: platformOf(recordOf(platform, `${name}: platform`)) }),
  }
}

function annotationsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function platformOf(value: Json): Platform {
  const osFeatures = textsOf(value['os.features'])
  const osVersion = textOf(value['os.version'])
  return normalizePlatform({
    os: textOf(value['os']),
    architecture: textOf(value['architecture']),
    variant: textOf(value['variant']),
    ...(osVersion !== '' && { osVersion }),
    ...(osFeatures.length > 0 && { osFeatures }),
  })
}
