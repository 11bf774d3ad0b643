import { formatPlatform, type ImageDescriptor, isLayerType, isManifestType } from '@containerd-ts/images'
import type { ContentStore, StoredImage } from '@containerd-ts/interface'
import { storedChildren } from './children.js'
import type { ProgressTracker } from './progress.js'
import type { Scope } from './scope.js'
import type { KeyedTurns } from './turns.js'
import { type UnpackTarget, unpackImage } from './unpack.js'

/** How an image gets into the store. */
export interface StoreImageOptions {
  content: ContentStore
  image: StoredImage
  /** Where it is unpacked; none for not at all. */
  targets: readonly UnpackTarget[]
  turns: KeyedTurns
  progress: ProgressTracker
  /** Has a blob in the store. */
  fetch(descriptor: ImageDescriptor): Promise<void>
}

/**
 * Has all of an image in the store that is wanted, and unpacked where that is wanted. Layers of different images, and of one image the
 * fetching of layers and their unpacking, go on at the same time.
 *
 * @throws what failed first.
 */
export async function storeImage(scope: Scope, root: ImageDescriptor, options: StoreImageOptions): Promise<void> {
  const { content, image, targets, turns, progress, fetch } = options
  // An image may be in several indexes, a layer in several images.
  const fetching = new Map<string, Promise<void>>()

  function fetchOnce(descriptor: ImageDescriptor): Promise<void> {
    const { digest } = descriptor
    const known = fetching.get(digest)
    if (known !== undefined) return known
    const work = turns(`${scope.ctx.namespace} ${digest}`, scope.ctx.signal, () => fetch(descriptor))
    fetching.set(digest, work)
    return work
  }

  // Indexes that list one another many times over would otherwise be walked for ever.
  const visited = new Map<string, Promise<void>>()

  function visitOnce(descriptor: ImageDescriptor, parent?: ImageDescriptor): Promise<void> {
    const { digest, mediaType, platform } = descriptor
    const key = `${digest} ${mediaType} ${platform === undefined ? '' : formatPlatform(platform)}`
    const known = visited.get(key)
    if (known !== undefined) return known
    const work = visit(descriptor, parent)
    visited.set(key, work)
    return work
  }

  async function visit(descriptor: ImageDescriptor, parent?: ImageDescriptor): Promise<void> {
    progress.add(descriptor, parent)
    await fetchOnce(descriptor)
    const children = await storedChildren(scope.ctx, content, image, descriptor)
    const unpacked = isManifestType(descriptor.mediaType) && targets.length > 0
    const layers = unpacked ? children.filter(({ mediaType }) => isLayerType(mediaType)) : []
    const others = children.filter((child) => !layers.includes(child))
    for (const layer of layers) progress.add(layer, descriptor)
    await scope.all(others.map((child) => visitOnce(child, descriptor)))
    const [config] = others
    if (config === undefined || layers.length === 0) return
    await unpackImage(scope.ctx, config, layers, { content, targets, turns, progress, fetched: fetchOnce })
  }

  await scope.all([visitOnce(root)])
}
