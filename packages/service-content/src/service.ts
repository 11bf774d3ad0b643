import { ContentDefinition, type Status, type Info as WireInfo } from '@containerd-ts/api/containerd/services/content/v1/content'
import {
  type BoundService,
  bindService,
  type ContentInfo,
  type ContentStore,
  type Context,
  type IngestStatus,
  InvalidArgumentError,
  validateDigest,
} from '@containerd-ts/interface'
import { read } from './read.js'
import { write } from './write.js'

const batchSize = 100

/** What a Content service serves. */
export interface ContentServiceOptions {
  content: ContentStore
  /** Called before each operation; throws when the call may not be served. */
  authorize?: (ctx: Context) => void
}

/** A content store as the gRPC service `containerd.services.content.v1.Content`. */
export function contentServiceOf({ content, authorize = () => {} }: ContentServiceOptions): BoundService {
  return bindService(ContentDefinition, {
    async info(ctx, { digest }) {
      validateDigest(digest)
      authorize(ctx)
      return { info: toWire(await content.info(ctx, digest)) }
    },
    async update(ctx, { info, updateMask }) {
      if (info === undefined) throw new InvalidArgumentError('info must be set')
      validateDigest(info.digest)
      authorize(ctx)
      return { info: toWire(await content.update(ctx, info, updateMask ?? [])) }
    },
    async *list(ctx, { filters }) {
      authorize(ctx)
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
      authorize(ctx)
      await content.delete(ctx, digest)
      return {}
    },
    async *read(ctx, request) {
      validateDigest(request.digest)
      authorize(ctx)
      yield* read(content, ctx, request)
    },
    async status(ctx, { ref }) {
      authorize(ctx)
      return { status: toWireStatus(await content.status(ctx, ref)) }
    },
    async listStatuses(ctx, { filters }) {
      authorize(ctx)
      return { statuses: (await content.listStatuses(ctx, filters)).map(toWireStatus) }
    },
    async *write(ctx, requests) {
      authorize(ctx)
      yield* write(content, ctx, requests)
    },
    async abort(ctx, { ref }) {
      authorize(ctx)
      await content.abort(ctx, ref)
      return {}
    },
  })
}

function toWire({ digest, sizeBytes, createdAt, updatedAt, labels }: ContentInfo): WireInfo {
  return { digest, size: sizeBytes, createdAt, updatedAt, labels: { ...labels } }
}

function toWireStatus({ ref, offset, total, startedAt, updatedAt }: IngestStatus): Status {
  // containerd never tells the expected digest.
  return { ref, offset, total, startedAt, updatedAt, expected: '' }
}
