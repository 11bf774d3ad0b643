/** The Content service: blobs by digest, and the sessions that write them. */
import { ContentDefinition, type Status, type Info as WireInfo } from '@containerd-ts/api/containerd/services/content/v1/content'
import {
  bindService,
  type ContentInfo,
  type IngestStatus,
  InvalidArgumentError,
  requireNamespace,
  validateDigest,
} from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { read } from './read.js'
import { write } from './write.js'

const batchSize = 100

export const contentService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'content',
  requires: [PluginType.Metadata],
  init(ic) {
    const { content } = ic.get(PluginType.Metadata)
    return {
      services: [
        bindService(ContentDefinition, {
          async info(ctx, { digest }) {
            validateDigest(digest)
            requireNamespace(ctx)
            return { info: toWire(await content.info(ctx, digest)) }
          },
          async update(ctx, { info, updateMask }) {
            if (info === undefined) throw new InvalidArgumentError('info must be set')
            validateDigest(info.digest)
            requireNamespace(ctx)
            return { info: toWire(await content.update(ctx, info, updateMask ?? [])) }
          },
          async *list(ctx, { filters }) {
            requireNamespace(ctx)
            let info: WireInfo[] = []
            for await (const blob of content.walk(ctx, filters)) {
              info.push(toWire(blob))
              if (info.length < batchSize) continue
              yield { info }
              info = []
            }
            if (info.length > 0) yield { info }
          },
          async delete(ctx, { digest }) {
            validateDigest(digest)
            requireNamespace(ctx)
            await content.delete(ctx, digest)
            return {}
          },
          async *read(ctx, request) {
            validateDigest(request.digest)
            requireNamespace(ctx)
            yield* read(content, ctx, request)
          },
          async status(ctx, { ref }) {
            requireNamespace(ctx)
            return { status: toWireStatus(await content.status(ctx, ref)) }
          },
          async listStatuses(ctx, { filters }) {
            requireNamespace(ctx)
            return { statuses: (await content.listStatuses(ctx, filters)).map(toWireStatus) }
          },
          async *write(ctx, requests) {
            requireNamespace(ctx)
            yield* write(content, ctx, requests)
          },
          async abort(ctx, { ref }) {
            requireNamespace(ctx)
            await content.abort(ctx, ref)
            return {}
          },
        }),
      ],
    }
  },
}

function toWire({ digest, sizeBytes, createdAt, updatedAt, labels }: ContentInfo): WireInfo {
  return { digest, size: sizeBytes, createdAt, updatedAt, labels: { ...labels } }
}

function toWireStatus({ ref, offset, total, startedAt, updatedAt }: IngestStatus): Status {
  // containerd never tells the expected digest.
  return { ref, offset, total, startedAt, updatedAt, expected: '' }
}

register(contentService)
