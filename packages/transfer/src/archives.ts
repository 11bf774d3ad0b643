import { exportArchive, importArchive } from '@containerd-ts/image-archive'
import { type ImageDescriptor, listedPlatforms, maxDocumentBytes, parseIndex, readBlob } from '@containerd-ts/images'
import {
  type Context,
  type ExportedArchive,
  hostPlatform,
  type Image,
  type ImportedArchive,
  InvalidArgumentError,
  NotFoundError,
  type StoredImage,
  UnimplementedError,
} from '@containerd-ts/interface'
import { wantedChildren } from './children.js'
import type { LocalTransfer, Report } from './local.js'
import { nameImage, nameImageOfArchive } from './name-images.js'
import { trackProgress } from './progress.js'
import { inScope } from './scope.js'
import { storeImage } from './store-image.js'
import { wantedTargets } from './unpack.js'

/** From an archive to the store. */
export async function importImages(
  local: LocalTransfer,
  ctx: Context,
  from: ImportedArchive,
  to: StoredImage,
  report: Report,
): Promise<void> {
  const { content, images, targets, turns } = local
  report?.({ event: 'Importing' })
  const index = await importArchive(ctx, content, from.bytes, { forceCompress: from.forceCompress })
  const manifests = parseIndex(await readBlob(ctx, content, index.digest, maxDocumentBytes), `content ${index.digest}`)
  if (manifests.length === 0) throw new InvalidArgumentError('there is no image in the archive')
  if (wantedChildren(to, index, manifests).length === 0) {
    throw new NotFoundError('image might be filtered out: nothing in the archive is for the platforms that were asked for')
  }
  await inScope(ctx, (scope) =>
    storeImage(scope, index, {
      content,
      image: to,
      targets: wantedTargets(to, targets, ctx.log),
      turns,
      progress: trackProgress('', 'downloading', undefined),
      // All that there is came with the archive.
      fetch: async () => {},
    }),
  )
  const told = (named: Image[], descriptor: ImageDescriptor) => {
    for (const { name } of named) report?.({ event: 'saved', name, descriptor })
  }
  told(await nameImage(ctx, images, to, index), index)
  for (const manifest of manifests) told(await nameImageOfArchive(ctx, images, to, manifest), manifest)
  report?.({ event: 'Completed import' })
}

/** From the store to an archive. */
export async function exportImages(
  local: LocalTransfer,
  ctx: Context,
  from: StoredImage,
  to: ExportedArchive,
  report: Report,
): Promise<void> {
  const { platforms, allPlatforms, skipCompatibilityManifest, skipNonDistributable } = to
  report?.({ event: 'Exporting' })
  const images = await lookUpImages(local, ctx, from)
  const platform = listedPlatforms(platforms.length > 0 ? platforms : [{ ...hostPlatform(), variant: '' }])
  await to.write(
    exportArchive(ctx, local.content, images, { platform, allPlatforms, skipCompatibilityManifest, skipNonDistributable }),
  )
  report?.({ event: 'Completed export' })
}

/** Which images a client means that are to be written somewhere. @throws UnimplementedError for the beginning of a name; NotFound */
async function lookUpImages({ images }: Pick<LocalTransfer, 'images'>, ctx: Context, from: StoredImage) {
  if (from.extraReferences.some(({ isPrefix }) => isPrefix))
    throw new UnimplementedError('prefix lookup on export not implemented')
  const names = [from.name, ...from.extraReferences.map(({ name }) => name)].filter((name) => name !== '')
  return Promise.all(names.map((name) => images.get(ctx, name)))
}
