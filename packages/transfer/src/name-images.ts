import { addRefPrefix, filterRefPrefix } from '@containerd-ts/image-archive'
import type { ImageDescriptor } from '@containerd-ts/images'
import {
  type Context,
  type Image,
  type ImageReference,
  type ImageStore,
  type ImageWrite,
  isAlreadyExists,
  isNotFound,
  type Labels,
  type StoredImage,
} from '@containerd-ts/interface'

/** Gives an image that was transferred its names; names that are taken point to it from now on. */
export function nameImage(ctx: Context, store: ImageStore, image: StoredImage, target: ImageDescriptor): Promise<Image[]> {
  const names = [
    ...(image.name === '' ? [] : [{ name: image.name, labels: image.labels }]),
    ...image.extraReferences
      // The beginning of a name alone names nothing.
      .filter(({ isPrefix, addDigest }) => !isPrefix || addDigest)
      .map(({ name, addDigest }) => ({ name: addDigest ? `${name}@${target.digest}` : name, labels: extraLabels(image) })),
  ]
  return putAll(ctx, store, names, target)
}

/** Gives one image of an archive its names: those of its annotations that go with the prefixes, and its digest where asked for. */
export function nameImageOfArchive(
  ctx: Context,
  store: ImageStore,
  image: StoredImage,
  target: ImageDescriptor,
): Promise<Image[]> {
  const names = image.extraReferences
    .filter(({ isPrefix }) => isPrefix)
    .flatMap((reference) => namesOf(reference, target))
    .map((name) => ({ name, labels: extraLabels(image) }))
  return putAll(ctx, store, names, target)
}

function namesOf(reference: ImageReference, { annotations, digest }: ImageDescriptor): string[] {
  const byDigest = reference.addDigest ? [`${reference.name}@${digest}`] : []
  const clean = reference.allowOverwrite ? addRefPrefix(reference.name) : filterRefPrefix(reference.name)
  const name = annotatedName(annotations, clean)
  if (name === '') return byDigest
  return reference.skipNamedDigest ? [name] : [name, ...byDigest]
}

function annotatedName(annotations: Labels, clean: (name: string) => string): string {
  const full = annotations['io.containerd.image.name'] ?? ''
  // A full name is taken as it is or not at all.
  if (full !== '') return clean(full) === full ? full : ''
  const short = annotations['org.opencontainers.image.ref.name'] ?? ''
  return short === '' ? '' : clean(short)
}

/** Further names go with the first one: they refer back to it and do not last by themselves. */
function extraLabels({ name, labels }: StoredImage): Labels {
  if (name === '') return labels
  return { ...labels, 'containerd.io/gc.bref.image': name, 'containerd.io/gc.expire': new Date().toISOString() }
}

async function putAll(
  ctx: Context,
  store: ImageStore,
  names: readonly { name: string; labels: Labels }[],
  { mediaType, digest, sizeBytes, annotations }: ImageDescriptor,
): Promise<Image[]> {
  const images: Image[] = []
  for (const { name, labels } of names) {
    images.push(await put(ctx, store, { name, labels, target: { mediaType, digest, sizeBytes, annotations } }))
  }
  return images
}

async function put(ctx: Context, store: ImageStore, image: ImageWrite): Promise<Image> {
  for (;;) {
    try {
      return await store.create(ctx, image)
    } catch (error) {
      if (!isAlreadyExists(error)) throw error
    }
    try {
      return await store.update(ctx, image, [])
    } catch (error) {
      // Removed in between: once more.
      if (!isNotFound(error)) throw error
    }
  }
}
