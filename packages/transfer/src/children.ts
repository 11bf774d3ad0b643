import {
  addLabels,
  anyPlatform,
  childLabels,
  type ImageDescriptor,
  isIndexType,
  isLayerType,
  isManifestType,
  listedPlatforms,
  type PlatformMatcher,
  readChildren,
} from '@containerd-ts/images'
import { type ContentStore, type Context, NotFoundError, type StoredImage } from '@containerd-ts/interface'

/** The platforms that are asked for; all of them when none is. */
export function wantedPlatforms({ platforms }: Pick<StoredImage, 'platforms'>): PlatformMatcher {
  return platforms.length === 0 ? anyPlatform : listedPlatforms(platforms)
}

/**
 * What of a manifest or an index is to be stored for `image`: an index' manifests of the platforms that are asked for. Labels on the
 * parent keep all of its children, should they ever be there.
 *
 * @throws InvalidArgument, NotFound, also when an index has nothing for these platforms and a limit says that something is wanted.
 */
export async function storedChildren(
  ctx: Context,
  content: ContentStore,
  image: StoredImage,
  parent: ImageDescriptor,
): Promise<ImageDescriptor[]> {
  const children = await readChildren(ctx, content, parent)
  if (children.length === 0) return children
  await addLabels(ctx, content, parent.digest, childLabels(children))
  return limited(image, parent, wantedChildren(image, parent, children))
}

/** Of what a manifest or an index lists, what is to be stored for `image`. */
export function wantedChildren(image: StoredImage, parent: ImageDescriptor, children: ImageDescriptor[]): ImageDescriptor[] {
  return image.allMetadata ? withoutLayers(image, parent, children) : ofPlatforms(image, children)
}

/** For those who want to know of all platforms: of the other ones everything but the layers. */
function withoutLayers(image: StoredImage, parent: ImageDescriptor, children: ImageDescriptor[]): ImageDescriptor[] {
  if (!isManifestType(parent.mediaType) || parent.platform === undefined) return children
  if (wantedPlatforms(image).matches(parent.platform)) return children
  return children.filter(({ mediaType }) => !isLayerType(mediaType))
}

function ofPlatforms(image: StoredImage, children: ImageDescriptor[]): ImageDescriptor[] {
  const wanted = wantedPlatforms(image)
  return children.filter(({ platform }) => platform === undefined || wanted.matches(platform))
}

function limited(image: StoredImage, parent: ImageDescriptor, children: ImageDescriptor[]): ImageDescriptor[] {
  if (image.manifestLimit === 0 || !isIndexType(parent.mediaType)) return children
  if (children.length === 0) throw new NotFoundError(`content ${parent.digest}: no match for platform in manifest`)
  const wanted = wantedPlatforms(image)
  const order = (a: ImageDescriptor, b: ImageDescriptor) => {
    if (a.platform === undefined || b.platform === undefined)
      return Number(a.platform === undefined) - Number(b.platform === undefined)
    return wanted.compare(a.platform, b.platform)
  }
  return [...children].sort(order).slice(0, image.manifestLimit)
}
