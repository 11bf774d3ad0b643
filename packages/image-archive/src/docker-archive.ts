import { childLabels, type ImageDescriptor, maxDocumentBytes, parseJson, readImageConfig } from '@containerd-ts/images'
import { type ContentStore, type Context, InvalidArgumentError, quote } from '@containerd-ts/interface'
import type { ArchiveContents } from './archive-contents.js'
import { storeDocument } from './ingest.js'
import { descriptorJson, encodeJson } from './json.js'
import { createLayerTypes, type LayerOptions } from './layers.js'
import { imageNameAnnotation, normalizeReference, ociReferenceName, refNameAnnotation } from './references.js'

interface DockerImage {
  config: string
  layers: readonly string[]
  repoTags: readonly string[]
}

const configType = 'application/vnd.docker.container.image.v1+json'
const manifestType = 'application/vnd.docker.distribution.manifest.v2+json'
const indexType = 'application/vnd.oci.image.index.v1+json'
// A document with more of them would be too large to be read again.
const maxDescriptors = maxDocumentBytes / 128

/**
 * Makes manifests of the images that a `manifest.json` lists, and an index of them, which is returned; stores both.
 *
 * @throws InvalidArgumentError when it is malformed or names what the archive lacks, and what the store throws.
 */
export async function storeDockerImages(
  ctx: Context,
  store: ContentStore,
  contents: ArchiveContents & { manifest: Buffer },
  options: LayerOptions,
): Promise<ImageDescriptor> {
  const images = parseImages(contents.manifest)
  const layerTypes = createLayerTypes(ctx, store, options)
  const listed: ImageDescriptor[] = []
  for (const image of images) {
    const manifest = await storeManifest(ctx, store, contents, image, layerTypes)
    if (image.repoTags.length === 0) listed.push(manifest)
    for (const tag of image.repoTags) {
      const name = normalizeReference(tag)
      const annotations = { [imageNameAnnotation]: name, [refNameAnnotation]: ociReferenceName(name) }
      listed.push({ ...manifest, annotations })
    }
    checkCount(listed.length, 'images')
  }
  return storeDocument(ctx, store, encodeJson({ schemaVersion: 2, manifests: listed.map(descriptorJson) }), {
    mediaType: indexType,
    labels: childLabels(listed),
  })
}

async function storeManifest(
  ctx: Context,
  store: ContentStore,
  contents: ArchiveContents,
  image: DockerImage,
  layerTypes: ReturnType<typeof createLayerTypes>,
): Promise<ImageDescriptor> {
  const blob = contents.find(image.config)
  if (blob === undefined) throw new InvalidArgumentError(`image config ${quote(image.config)} not found in the archive`)
  const config = { mediaType: configType, ...blob, annotations: {} }
  const stored = image.layers.map((name) => {
    const layer = contents.find(name)
    if (layer === undefined) throw new InvalidArgumentError(`layer ${quote(name)} not found in the archive`)
    return layer
  })
  const layers = await layerTypes(stored)
  const bytes = encodeJson({
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptorJson(config),
    layers: layers.map(descriptorJson),
  })
  const { platform } = await readImageConfig(ctx, store, config.digest)
  const manifest = await storeDocument(ctx, store, bytes, {
    mediaType: manifestType,
    labels: childLabels([config, ...layers]),
  })
  const isKnown = platform.os !== '' || platform.architecture !== ''
  return { ...manifest, ...(isKnown && { platform }) }
}

function parseImages(bytes: Buffer): DockerImage[] {
  const document = parseJson(bytes, 'manifest.json')
  if (!Array.isArray(document)) throw new InvalidArgumentError('manifest.json is no list')
  const entries: readonly unknown[] = document
  return entries.map((entry, index) => {
    const name = `manifest.json: image ${index}`
    if (typeof entry !== 'object' || entry === null) throw new InvalidArgumentError(`${name} is no object`)
    const config = 'Config' in entry ? entry.Config : undefined
    if (typeof config !== 'string') throw new InvalidArgumentError(`${name} has no config`)
    return {
      config,
      layers: names('Layers' in entry ? entry.Layers : undefined, `${name}: layers`),
      repoTags: names('RepoTags' in entry ? entry.RepoTags : undefined, `${name}: tags`),
    }
  })
}

/** What Go writes for an empty list is null. */
function names(value: unknown, what: string): readonly string[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new InvalidArgumentError(`${what} are no list`)
  checkCount(value.length, what)
  const items: readonly unknown[] = value
  return items.map((item) => {
    if (typeof item !== 'string') throw new InvalidArgumentError(`${what} have one that is no text`)
    return item
  })
}

function checkCount(count: number, what: string): void {
  if (count > maxDescriptors) throw new InvalidArgumentError(`manifest.json: more than ${maxDescriptors} ${what}`)
}
