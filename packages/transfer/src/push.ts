import { blobPieces, type ImageDescriptor, isDocumentType, isNonDistributable, readChildren } from '@containerd-ts/images'
import type { Context, RegistryImage, StoredImage } from '@containerd-ts/interface'
import { parseReference } from '@containerd-ts/remotes'
import { wantedPlatforms } from './children.js'
import { sourcesOf } from './fetch.js'
import type { LocalTransfer, Report } from './local.js'
import { trackProgress } from './progress.js'
import { openResolver, registryName } from './registry.js'
import { inScope, type Scope } from './scope.js'

/** From the store to a registry. */
export async function push(
  local: LocalTransfer,
  ctx: Context,
  from: StoredImage,
  to: RegistryImage,
  report: Report,
): Promise<void> {
  const { content, images, uploads } = local
  const { name, target } = await images.get(ctx, from.name)
  const reference = parseReference(to.reference)
  const repository = `${reference.host}/${reference.repository}`
  const platforms = wantedPlatforms(from)
  const resolver = openResolver(local, to)
  const progress = trackProgress(name, 'uploading', report)
  const pushing = new Map<string, Promise<void>>()

  async function pushBlob(scope: Scope, descriptor: ImageDescriptor): Promise<void> {
    const { labels } = await content.info(scope.ctx, descriptor.digest)
    const isDocument = isDocumentType(descriptor.mediaType)
    // Only the image itself gets the tag.
    const where =
      descriptor.digest === target.digest ? to.reference : isDocument ? `${repository}@${descriptor.digest}` : to.reference
    const outcome = await resolver.push(where, descriptor, {
      open: () => blobPieces(scope.ctx, content, descriptor.digest),
      signal: scope.ctx.signal,
      mountFrom: isDocument ? [] : sourcesOf(labels, reference.host),
      onProgress: (bytes) => progress.reached(descriptor, bytes),
    })
    if (outcome === 'pushed') progress.complete(descriptor)
    else progress.exists(descriptor)
  }

  /** What refers to something comes after it: registries refuse manifests whose layers they lack. */
  async function visit(scope: Scope, descriptor: ImageDescriptor, parent?: ImageDescriptor): Promise<void> {
    progress.add(descriptor, parent)
    const children = (await readChildren(scope.ctx, content, descriptor)).filter(
      ({ mediaType, platform }) => !isNonDistributable(mediaType) && (platform === undefined || platforms.matches(platform)),
    )
    await scope.all(children.map((child) => once(scope, child, descriptor)))
    await uploads(scope.ctx.signal, () => pushBlob(scope, descriptor))
  }

  function once(scope: Scope, descriptor: ImageDescriptor, parent?: ImageDescriptor): Promise<void> {
    const known = pushing.get(descriptor.digest)
    if (known !== undefined) return known
    const work = visit(scope, descriptor, parent)
    pushing.set(descriptor.digest, work)
    return work
  }

  try {
    report?.({ event: `Pushing to ${registryName(to)}` })
    report?.({ event: 'pushing content', name, descriptor: target })
    await inScope(ctx, (scope) => scope.all([once(scope, target)]))
  } finally {
    progress.close()
    resolver.close()
  }
  report?.({ event: 'pushed content', name, descriptor: target })
  report?.({ event: `Completed push to ${registryName(to)}`, descriptor: target })
}
