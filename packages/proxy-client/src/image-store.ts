import { zeroTimestamp } from '@containerd-ts/api'
import { ImagesDefinition, type Image as WireImage } from '@containerd-ts/api/containerd/services/images/v1/images'
import {
  fromWireDescriptor,
  type Image,
  type ImageStore,
  type ImageWrite,
  NotFoundError,
  toWireDescriptor,
} from '@containerd-ts/interface'
import { answer, type ProxyConnection } from './connection.js'

/** The images of a daemon. */
export function createRemoteImageStore(connection: ProxyConnection): ImageStore {
  const service = connection.service(ImagesDefinition)
  return {
    async get(ctx, name) {
      return fromWire((await answer(ctx, (options) => service.get({ name }, options))).image, name)
    },
    async *list(ctx, filters) {
      const { images } = await answer(ctx, (options) => service.list({ filters: [...filters] }, options))
      for (const image of images) yield fromWire(image, image.name)
    },
    async create(ctx, image) {
      const { sourceDateEpoch } = image
      const request = { image: toWire(image), ...(sourceDateEpoch && { sourceDateEpoch }) }
      return fromWire((await answer(ctx, (options) => service.create(request, options))).image, image.name)
    },
    async update(ctx, image, fieldpaths) {
      const { sourceDateEpoch } = image
      const request = { image: toWire(image), updateMask: [...fieldpaths], ...(sourceDateEpoch && { sourceDateEpoch }) }
      return fromWire((await answer(ctx, (options) => service.update(request, options))).image, image.name)
    },
    async delete(ctx, name, target) {
      const request = { name, ...(target !== undefined && { target: { digest: target } }) }
      await answer(ctx, (options) => service.delete(request, options))
    },
  }
}

function toWire({ name, labels, target }: ImageWrite) {
  return { name, labels: { ...labels }, target: toWireDescriptor(target) }
}

function fromWire(image: WireImage | undefined, name: string): Image {
  if (image === undefined) throw new NotFoundError(`image ${name}`)
  const { labels, target, createdAt = zeroTimestamp, updatedAt = zeroTimestamp } = image
  return { name: image.name, labels, target: fromWireDescriptor(target), createdAt, updatedAt }
}
