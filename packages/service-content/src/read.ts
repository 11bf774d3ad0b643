import type { ReadContentRequest, ReadContentResponse } from '@containerd-ts/api/containerd/services/content/v1/content'
import { type ContentStore, type Context, OutOfRangeError } from '@containerd-ts/interface'

const pieceBytes = 1024 * 1024

/** Sends a range of a blob in pieces; the next one is read from disk when the receiver has taken the last. */
export async function* read(store: ContentStore, ctx: Context, request: ReadContentRequest): AsyncIterable<ReadContentResponse> {
  const reader = await store.reader(ctx, request.digest)
  try {
    const { sizeBytes } = reader
    const start = Math.max(request.offset, 0)
    if (start > sizeBytes) throw new OutOfRangeError(`read past object length ${sizeBytes} bytes`)
    const end = request.size <= 0 ? sizeBytes : Math.min(start + request.size, sizeBytes)
    // The response's offset counts from the start of the response, not of the blob.
    for (let at = start; at < end; ) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, end - at))
      const length = await reader.read(piece, at)
      if (length === 0) throw new OutOfRangeError(`content ${request.digest} ends at ${at} of ${sizeBytes} bytes`)
      yield { offset: at - start, data: piece.subarray(0, length) }
      at += length
    }
  } finally {
    await reader.close()
  }
}
