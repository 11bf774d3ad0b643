import { EncodedMessage } from '@containerd-ts/api'
import type { ReadContentRequest } from '@containerd-ts/api/containerd/services/content/v1/content'
import { type ContentStore, type Context, OutOfRangeError } from '@containerd-ts/interface'
import { encodePieceHeader, maxHeaderBytes } from './piece.js'

const pieceBytes = 1024 * 1024

/**
 * Sends a range of a blob in pieces; the next one is read from disk while the last is on its way. Bytes go from the disk into the place
 * that they have in the message: two buffers, used in turn, are all that a long read takes.
 */
export async function* read(store: ContentStore, ctx: Context, request: ReadContentRequest): AsyncIterable<EncodedMessage> {
  const reader = await store.reader(ctx, request.digest)
  try {
    const { sizeBytes } = reader
    const start = Math.max(request.offset, 0)
    if (start > sizeBytes) throw new OutOfRangeError(`read past object length ${sizeBytes} bytes`)
    const end = request.size <= 0 ? sizeBytes : Math.min(start + request.size, sizeBytes)
    const bufferBytes = maxHeaderBytes + Math.min(pieceBytes, end - start)
    let [buffer, other]: [Buffer | undefined, Buffer | undefined] = [undefined, undefined]
    for (let at = start; at < end; ) {
      const length = Math.min(pieceBytes, end - at)
      buffer ??= Buffer.allocUnsafe(bufferBytes)
      // The response's offset counts from the start of the response, not of the blob.
      const header = encodePieceHeader(buffer, at - start, length)
      const message = buffer.subarray(maxHeaderBytes - header, maxHeaderBytes + length)
      const count = await reader.read(message.subarray(header), at)
      if (count < length) throw new OutOfRangeError(`content ${request.digest} ends at ${at + count} of ${sizeBytes} bytes`)
      yield new EncodedMessage(message)
      at += length
      ;[buffer, other] = [other, buffer]
    }
  } finally {
    await reader.close()
  }
}
