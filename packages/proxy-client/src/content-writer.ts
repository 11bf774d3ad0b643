import { compareTimestamps, now, zeroTimestamp } from '@containerd-ts/api'
import {
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from '@containerd-ts/api/containerd/services/content/v1/content'
import { type ContentWriter, type Context, FailedPreconditionError, type WriterOptions } from '@containerd-ts/interface'
import { answer } from './connection.js'
import { type ContentClient, fromWire } from './content-store.js'
import { converse } from './conversation.js'

// Well below the limit of a message.
const pieceBytes = 4 * 1024 * 1024

/** Opens the remote writer of a ref: one call, which lasts until it is committed or closed. */
export async function openWriter(service: ContentClient, ctx: Context, options: WriterOptions): Promise<ContentWriter> {
  const { ref, total = 0, expected = '' } = options
  const call = converse(ctx, (requests: AsyncIterable<Partial<WriteContentRequest>>, callOptions) =>
    service.write(requests, callOptions),
  )
  // The first message names the ref and takes its lock.
  const opened = await call.ask({ action: WriteAction.STAT, ref, total, expected })
  const status = {
    ref,
    offset: opened.offset,
    total: opened.total || total,
    expected,
    startedAt: opened.startedAt ?? zeroTimestamp,
    updatedAt: opened.updatedAt ?? zeroTimestamp,
  }
  let digest = opened.digest
  let over = false

  const took = (written: WriteContentResponse) => {
    status.offset = written.offset
    digest = written.digest
    // containerd goes on telling the time at which the writer was opened.
    const { updatedAt = zeroTimestamp } = written
    status.updatedAt = compareTimestamps(updatedAt, status.updatedAt) > 0 ? updatedAt : now()
  }
  const usable = () => {
    if (over) throw new FailedPreconditionError(`the writer of ref ${ref} is closed`)
  }
  return {
    status: () => ({ ...status }),
    digest: () => digest,
    async write(data) {
      usable()
      for (let at = 0; at < data.length; at += pieceBytes) {
        const piece = data.subarray(at, at + pieceBytes)
        const written = await call.ask({ action: WriteAction.WRITE, offset: status.offset, data: piece })
        took(written)
      }
    },
    async truncate() {
      usable()
      // Offset 0 on something that has bytes means: from the beginning.
      const written = await call.ask({ action: WriteAction.WRITE, offset: 0 })
      took(written)
    },
    async commit(commitCtx, { sizeBytes = 0, expected: wanted = '', labels = {} }) {
      usable()
      over = true
      try {
        const committed = await call.ask({
          action: WriteAction.COMMIT,
          offset: status.offset,
          total: sizeBytes,
          expected: wanted,
          labels: { ...labels },
        })
        const { info } = await answer(commitCtx, (callOptions) => service.info({ digest: committed.digest }, callOptions))
        return fromWire(info, committed.digest)
      } finally {
        await call.end()
      }
    },
    async close() {
      over = true
      await call.end()
    },
  }
}
