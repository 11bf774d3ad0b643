import { type Client, zeroTimestamp } from '@containerd-ts/api'
import { ContentDefinition, type Status, type Info as WireInfo } from '@containerd-ts/api/containerd/services/content/v1/content'
import { type ContentInfo, type ContentStore, type IngestStatus, NotFoundError } from '@containerd-ts/interface'
import { answer, answers, type ProxyConnection } from './connection.js'
import { openReader } from './content-reader.js'
import { openWriter } from './content-writer.js'

export type ContentClient = Client<typeof ContentDefinition>

/** A content store that another process serves: that of a daemon, or one made to be a proxy plugin. */
export function createRemoteContentStore(connection: ProxyConnection): ContentStore {
  const service = connection.service(ContentDefinition)
  return {
    async info(ctx, digest) {
      return fromWire((await answer(ctx, (options) => service.info({ digest }, options))).info, digest)
    },
    async update(ctx, { digest, labels }, fieldpaths) {
      const request = { info: { digest, labels: { ...labels } }, updateMask: [...fieldpaths] }
      return fromWire((await answer(ctx, (options) => service.update(request, options))).info, digest)
    },
    async *walk(ctx, filters) {
      const batches = answers(ctx, (options) => service.list({ filters: [...filters] }, options))
      for await (const { info } of batches) for (const blob of info) yield fromWire(blob, blob.digest)
    },
    async delete(ctx, digest) {
      await answer(ctx, (options) => service.delete({ digest }, options))
    },
    async reader(ctx, digest) {
      const { info } = await answer(ctx, (options) => service.info({ digest }, options))
      return await openReader(service, ctx, fromWire(info, digest))
    },
    async status(ctx, ref) {
      const { status } = await answer(ctx, (options) => service.status({ ref }, options))
      if (status === undefined) throw new NotFoundError(`ingest ref ${ref}`)
      return statusFromWire(status)
    },
    async listStatuses(ctx, filters) {
      const { statuses } = await answer(ctx, (options) => service.listStatuses({ filters: [...filters] }, options))
      return statuses.map(statusFromWire)
    },
    async abort(ctx, ref) {
      await answer(ctx, (options) => service.abort({ ref }, options))
    },
    writer: (ctx, options) => openWriter(service, ctx, options),
  }
}

/** A blob as the service describes it. @throws NotFoundError when it describes nothing. */
export function fromWire(info: WireInfo | undefined, digest: string): ContentInfo {
  if (info === undefined) throw new NotFoundError(`content ${digest}`)
  const { size, labels, createdAt = zeroTimestamp, updatedAt = zeroTimestamp } = info
  return { digest: info.digest, sizeBytes: size, labels, createdAt, updatedAt }
}

function statusFromWire({
  ref,
  offset,
  total,
  expected,
  startedAt = zeroTimestamp,
  updatedAt = zeroTimestamp,
}: Status): IngestStatus {
  return { ref, offset, total, expected, startedAt, updatedAt }
}
