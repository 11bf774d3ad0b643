import { createHash, randomUUID } from 'node:crypto'
import { addLabels, type ImageDescriptor, maxDocumentBytes, storeBlob } from '@containerd-ts/images'
import {
  background,
  type ContentStore,
  type Context,
  InvalidArgumentError,
  isAlreadyExists,
  type Labels,
} from '@containerd-ts/interface'

/** What a blob is known by. */
export interface StoredBlob {
  digest: string
  sizeBytes: number
}

/** Runs with the name of an ingest that nobody else has; what is left of it after a failure is removed. */
export async function withIngest<T>(ctx: Context, store: ContentStore, run: (ref: string) => Promise<T>): Promise<T> {
  const ref = `import-${randomUUID()}`
  try {
    return await run(ref)
  } catch (error) {
    // The failure may be that the call was cancelled.
    await store.abort({ ...ctx, signal: background().signal }, ref).catch(() => {})
    throw error
  }
}

/**
 * Stores bytes under the digest that they turn out to have.
 *
 * @throws what the store and `bytes` throw; `AlreadyExists` is no error.
 */
export async function storeUnknown(
  ctx: Context,
  store: ContentStore,
  bytes: AsyncIterable<Uint8Array>,
  options: { /** 0 when unknown. */ sizeBytes: number; labels?: Labels },
): Promise<StoredBlob> {
  const { sizeBytes, labels = {} } = options
  return withIngest(ctx, store, async (ref) => {
    const writer = await store.writer(ctx, { ref, total: sizeBytes })
    try {
      for await (const piece of bytes) {
        ctx.signal.throwIfAborted()
        await writer.write(piece)
      }
      const blob = { digest: writer.digest(), sizeBytes: writer.status().offset }
      try {
        await writer.commit(ctx, { sizeBytes, expected: blob.digest, labels })
      } catch (error) {
        if (!isAlreadyExists(error)) throw error
        await addLabels(ctx, store, blob.digest, labels)
      }
      return blob
    } finally {
      await writer.close()
    }
  })
}

/**
 * Stores a document that is in memory.
 *
 * @throws InvalidArgumentError when it is too large to be read again, and what the store throws.
 */
export async function storeDocument(
  ctx: Context,
  store: ContentStore,
  bytes: Buffer,
  options: { mediaType: string; labels: Labels },
): Promise<ImageDescriptor> {
  const { mediaType, labels } = options
  if (bytes.length > maxDocumentBytes) {
    throw new InvalidArgumentError(`${mediaType} of ${bytes.length} bytes, at most ${maxDocumentBytes} are possible`)
  }
  const blob = { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, sizeBytes: bytes.length }
  const outcome = await withIngest(ctx, store, (ref) =>
    storeBlob(ctx, store, blob, { ref, labels, bytes: (offset) => [bytes.subarray(offset)] }),
  )
  if (outcome === 'exists') await addLabels(ctx, store, blob.digest, labels)
  return { mediaType, ...blob, annotations: {} }
}
