import { now } from '@containerd-ts/api'
import { fieldOfLabels, parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  digestProblem,
  type Image,
  type ImageStore,
  type ImageWrite,
  InvalidArgumentError,
  NotFoundError,
  quote,
  requireNamespace,
  updatedLabels,
  validateLabels,
  withLabel,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import type { Entry } from './database.js'
import { attach, detach, ensureNamespace, type StoreDeps } from './deps.js'
import { eventTypes } from './event-types.js'
import { expireLabel } from './gc/labels.js'
import { Turns } from './pace.js'
import { type ImageRecord, images } from './tables.js'

export function createImageStore({ view, update, publish, dirty }: StoreDeps): ImageStore {
  return {
    async get(ctx, name) {
      const record = view.get(images, requireNamespace(ctx), name)
      if (record === undefined) throw notFound(name)
      return imageOf(name, record)
    },

    async *list(ctx, filters) {
      const namespace = requireNamespace(ctx)
      const matches = parseFilters(filters)
      const turns = new Turns()
      for (const entry of view.scan(images, namespace)) {
        if (turns.isOver) await turns.pass()
        const image = imageOf(nameOf(entry), entry.record)
        if (matches(imageField(image))) yield image
      }
    },

    async create(ctx, image) {
      const namespace = requireNamespace(ctx)
      const stamp = image.sourceDateEpoch ?? now()
      const target = { ...image.target, annotations: withoutEmptyLabels(image.target.annotations) }
      const record: ImageRecord = { labels: withoutEmptyLabels(image.labels), target, createdAt: stamp, updatedAt: stamp }
      validate(image.name, record)
      await update((tx) => {
        if (tx.get(images, namespace, image.name) !== undefined) throw new AlreadyExistsError(`image ${quote(image.name)}`)
        ensureNamespace(tx, namespace)
        tx.put(images, [namespace, image.name], record)
        if (expireLabel in record.labels) attach(tx, ctx, namespace, 'images', image.name)
      })
      await publish(ctx, namespace, '/images/create', eventTypes.imageCreate, { name: image.name, labels: { ...record.labels } })
      return imageOf(image.name, record)
    },

    async update(ctx, image, fieldpaths) {
      const namespace = requireNamespace(ctx)
      if (image.name === '') throw new InvalidArgumentError('Image.Name required')
      const record = await update((tx) => {
        const current = tx.get(images, namespace, image.name)
        if (current === undefined) throw notFound(image.name)
        const next = { ...merge(current, image, fieldpaths), updatedAt: image.sourceDateEpoch ?? now() }
        validate(image.name, next)
        tx.put(images, [namespace, image.name], next)
        if (expireLabel in next.labels) attach(tx, ctx, namespace, 'images', image.name)
        return next
      })
      await publish(ctx, namespace, '/images/update', eventTypes.imageUpdate, { name: image.name, labels: { ...record.labels } })
      return imageOf(image.name, record)
    },

    async delete(ctx, name, target) {
      const namespace = requireNamespace(ctx)
      await update((tx) => {
        const current = tx.get(images, namespace, name)
        if (current === undefined) throw notFound(name)
        if (target !== undefined && target !== '' && target !== current.target.digest) {
          throw new NotFoundError(`image ${quote(name)} has target ${current.target.digest}, not ${target}`)
        }
        tx.delete(images, namespace, name)
        detach(tx, ctx, namespace, 'images', name)
        tx.afterwards(() => dirty.markDeleted())
      })
      await publish(ctx, namespace, '/images/delete', eventTypes.imageDelete, { name })
    },
  }
}

function merge(current: ImageRecord, image: ImageWrite, fieldpaths: readonly string[]): ImageRecord {
  const given = { ...image.target, annotations: withoutEmptyLabels(image.target.annotations) }
  if (fieldpaths.length === 0) return { ...current, labels: withoutEmptyLabels(image.labels), target: given }
  let { labels, target } = current
  for (const path of fieldpaths) {
    if (path === 'target') target = given
    else if (path === 'annotations') target = { ...target, annotations: given.annotations }
    else if (path.startsWith('annotations.')) {
      target = { ...target, annotations: withLabel(target.annotations, path.slice('annotations.'.length), given.annotations) }
    } else labels = updatedLabels(labels, image.labels, [path], `image ${quote(image.name)}`)
  }
  return { ...current, labels, target }
}

function validate(name: string, { labels, target }: ImageRecord): void {
  if (name === '') throw new InvalidArgumentError('Image.Name required')
  validateLabels(labels, 'image.Labels')
  const problem = digestProblem(target.digest)
  if (problem !== undefined) throw new InvalidArgumentError(`target.Digest ${quote(target.digest)} invalid: ${problem}`)
  if (target.sizeBytes <= 0) throw new InvalidArgumentError('target.Size must be greater than zero')
  if (target.mediaType === '') throw new InvalidArgumentError('target.MediaType must be set')
}

function imageOf(name: string, record: ImageRecord): Image {
  return { name, ...record }
}

function nameOf(entry: Entry): string {
  return entry.id[1] ?? ''
}

function notFound(name: string): Error {
  return new NotFoundError(`image ${quote(name)}`)
}

function imageField(image: Image) {
  return ([field, ...rest]: readonly string[]): string | undefined => {
    switch (field) {
      case 'name':
        return image.name
      case 'target':
        if (rest.length !== 1) return undefined
        if (rest[0] === 'digest') return image.target.digest || undefined
        return rest[0] === 'mediatype' ? image.target.mediaType || undefined : undefined
      case 'labels':
        return fieldOfLabels(image.labels, rest)
      case 'annotations':
        return fieldOfLabels(image.target.annotations, rest)
      default:
        return undefined
    }
  }
}
