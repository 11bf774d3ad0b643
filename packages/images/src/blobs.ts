import { setTimeout as delay } from 'node:timers/promises'
import {
  type ContentStore,
  type ContentWriter,
  type Context,
  type Descriptor,
  InvalidArgumentError,
  isAlreadyExists,
  isFailedPrecondition,
  isUnavailable,
  type Labels,
  type WriterOptions,
} from '@containerd-ts/interface'

/**
 * The whole of a blob that is small.
 *
 * @throws InvalidArgumentError when it has more than `limit` bytes, NotFound, and what the store throws.
 */
export async function readBlob(ctx: Context, store: ContentStore, digest: string, limit: number): Promise<Buffer> {
  const reader = await store.reader(ctx, digest)
  try {
    if (reader.sizeBytes > limit) {
      throw new InvalidArgumentError(`content ${digest} has ${reader.sizeBytes} bytes, at most ${limit} are expected of its kind`)
    }
    const bytes = Buffer.allocUnsafe(reader.sizeBytes)
    for (let filled = 0; filled < bytes.length; ) {
      const read = await reader.read(bytes.subarray(filled), filled)
      if (read === 0) throw new InvalidArgumentError(`content ${digest} ends after ${filled} of ${bytes.length} bytes`)
      filled += read
    }
    return bytes
  } finally {
    await reader.close()
  }
}

const pieceBytes = 1024 * 1024

/** The bytes of a blob in pieces of up to 1 MiB, each of them the consumer's own. @throws NotFound, InvalidArgumentError when it is cut short. */
export async function* blobPieces(ctx: Context, store: ContentStore, digest: string, offset = 0): AsyncGenerator<Buffer> {
  const reader = await store.reader(ctx, digest)
  try {
    for (let at = offset; at < reader.sizeBytes; ) {
      ctx.signal.throwIfAborted()
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, reader.sizeBytes - at))
      const read = await reader.read(piece, at)
      if (read === 0) throw new InvalidArgumentError(`content ${digest} ends after ${at} of ${reader.sizeBytes} bytes`)
      at += read
      yield piece.subarray(0, read)
    }
  } finally {
    await reader.close()
  }
}

/**
 * Stores a blob with labels; one that is there already is left as it is.
 *
 * `bytes` is given the offset at which an ingest that was begun earlier goes on, and gives the rest. A digest or a size that does not
 * fit is refused by the store, and the ingest is removed, as it could never be committed. While somebody else writes the same ingest, that
 * is waited for.
 *
 * @throws what the store and `bytes` throw; `AlreadyExists` is no error.
 */
export async function storeBlob(
  ctx: Context,
  store: ContentStore,
  descriptor: Pick<Descriptor, 'digest' | 'sizeBytes'>,
  options: {
    /** Name of the ingest. */
    ref: string
    labels?: Labels
    bytes(offset: number): AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  },
): Promise<'stored' | 'exists'> {
  const { digest, sizeBytes } = descriptor
  const { ref, labels = {}, bytes } = options
  try {
    const writer = await openWriter(ctx, store, { ref, total: sizeBytes, expected: digest })
    try {
      if (writer.status().offset < sizeBytes || sizeBytes === 0) {
        for await (const piece of bytes(writer.status().offset)) {
          ctx.signal.throwIfAborted()
          await writer.write(piece)
        }
      }
      await writer.commit(ctx, { sizeBytes, expected: digest, labels })
      return 'stored'
    } finally {
      await writer.close()
    }
  } catch (error) {
    if (isFailedPrecondition(error)) await store.abort(ctx, ref).catch(() => {})
    if (!isAlreadyExists(error)) throw error
  }
  return 'exists'
}

/** Gives a blob further labels; those that it has stay. @throws NotFound, InvalidArgumentError */
export async function addLabels(ctx: Context, store: ContentStore, digest: string, labels: Labels): Promise<void> {
  const paths = Object.keys(labels).map((key) => `labels.${key}`)
  if (paths.length > 0) await store.update(ctx, { digest, labels }, paths)
}

const longestWaitMs = 2000

async function openWriter(ctx: Context, store: ContentStore, options: WriterOptions): Promise<ContentWriter> {
  for (let waitMs = 16; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
    try {
      return await store.writer(ctx, options)
    } catch (error) {
      if (!isUnavailable(error)) throw error
    }
    await delay(waitMs / 2 + Math.random() * (waitMs / 2), undefined, { signal: ctx.signal })
  }
}
