/** The Images service: names of images and what they point to. */
import { ImagesDefinition, type Image as WireImage } from '@containerd-ts/api/containerd/services/images/v1/images'
import {
  bindService,
  fromWireDescriptor,
  type Image,
  type ImageWrite,
  InvalidArgumentError,
  requireNamespace,
  type Timestamp,
  toWireDescriptor,
} from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

/** The plugin `io.containerd.grpc.v1.images`. */
export const imagesService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'images',
  requires: [PluginType.Metadata, PluginType.GC],
  init(ic) {
    const { images } = ic.get(PluginType.Metadata)
    const collector = ic.get(PluginType.GC)
    return {
      services: [
        bindService(ImagesDefinition, {
          async get(ctx, { name }) {
            requireNamespace(ctx)
            return { image: toWire(await images.get(ctx, name)) }
          },
          async list(ctx, { filters }) {
            requireNamespace(ctx)
            const found: WireImage[] = []
            for await (const image of images.list(ctx, filters)) found.push(toWire(image))
            return { images: found }
          },
          async create(ctx, { image, sourceDateEpoch }) {
            const write = fromWire(image, sourceDateEpoch)
            requireNamespace(ctx)
            return { image: toWire(await images.create(ctx, write)) }
          },
          async update(ctx, { image, updateMask, sourceDateEpoch }) {
            const write = fromWire(image, sourceDateEpoch)
            requireNamespace(ctx)
            return { image: toWire(await images.update(ctx, write, updateMask ?? [])) }
          },
          async delete(ctx, { name, sync, target }) {
            requireNamespace(ctx)
            await images.delete(ctx, name, target?.digest || undefined)
            if (sync) await collector.collect()
            return {}
          },
        }),
      ],
    }
  },
}

function fromWire(image: WireImage | undefined, sourceDateEpoch: Timestamp | undefined): ImageWrite {
  if (image === undefined || image.name === '') throw new InvalidArgumentError('Image.Name required')
  return {
    name: image.name,
    labels: image.labels,
    target: fromWireDescriptor(image.target),
    ...(sourceDateEpoch && { sourceDateEpoch }),
  }
}

function toWire({ name, labels, target, createdAt, updatedAt }: Image): WireImage {
  return {
    name,
    labels: { ...labels },
    target: toWireDescriptor(target),
    createdAt,
    updatedAt,
  }
}

register(imagesService)
