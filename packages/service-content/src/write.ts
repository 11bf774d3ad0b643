import {
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from '@containerd-ts/api/containerd/services/content/v1/content'
import {
  AlreadyExistsError,
  type ContentStore,
  type ContentWriter,
  type Context,
  InvalidArgumentError,
  isNotFound,
  OutOfRangeError,
} from '@containerd-ts/interface'

/** What a session remembers from its messages: later ones override with what is not zero. */
interface Expectation {
  total: number
  expected: string
}

/**
 * One write session: a stream is a writer, a writer a ref. The first message names the ref and opens the writer, each message is
 * answered once, a commit ends the stream, and so does any error.
 */
export async function* write(
  store: ContentStore,
  ctx: Context,
  requests: AsyncIterable<WriteContentRequest>,
): AsyncIterable<WriteContentResponse> {
  let writer: ContentWriter | undefined
  const sticky: Expectation = { total: 0, expected: '' }
  const answer: WriteContentResponse = {
    action: WriteAction.STAT,
    startedAt: undefined,
    updatedAt: undefined,
    offset: 0,
    total: 0,
    digest: '',
  }
  let ref = ''
  try {
    for await (const request of requests) {
      if (request.total !== 0) sticky.total = request.total
      if (request.expected !== '') sticky.expected = request.expected
      if (writer === undefined) {
        if (request.ref === '') throw new InvalidArgumentError('first message must have a reference')
        ref = request.ref
        writer = await store.writer(ctx, { ref, ...sticky })
      } else if (request.expected !== '' && (await isCommitted(store, ctx, request.expected))) {
        await writer.close()
        await store.abort(ctx, ref).catch((error: unknown) => {
          // Somebody else was faster.
          if (!isNotFound(error)) throw error
        })
        throw new AlreadyExistsError(`blob with expected digest ${request.expected} exists`)
      }

      answer.action = request.action
      answer.offset = writer.status().offset
      if (request.action === WriteAction.STAT) {
        const { startedAt, updatedAt } = writer.status()
        Object.assign(answer, { startedAt, updatedAt, total: sticky.total, digest: writer.digest() })
      } else if (request.action === WriteAction.WRITE || request.action === WriteAction.COMMIT) {
        await append(writer, request)
        answer.offset = writer.status().offset
        // containerd tells the time of the last STAT again; clients that look at it want to know when this was.
        answer.updatedAt = writer.status().updatedAt
        if (request.action === WriteAction.COMMIT) {
          const info = await writer.commit(ctx, { sizeBytes: sticky.total, expected: sticky.expected, labels: request.labels })
          yield { ...answer, digest: info.digest }
          return
        }
        answer.digest = writer.digest()
      }
      yield { ...answer }
    }
  } finally {
    await writer?.close()
  }
}

/** Data goes to the end; offset zero starts again from nothing. */
async function append(writer: ContentWriter, request: WriteContentRequest): Promise<void> {
  const { offset } = writer.status()
  if (request.offset === 0 && offset > 0) await writer.truncate()
  else if (request.offset !== offset) throw new OutOfRangeError(`write @${request.offset} must occur at current offset ${offset}`)
  if (request.data.length > 0) await writer.write(request.data)
}

async function isCommitted(store: ContentStore, ctx: Context, digest: string): Promise<boolean> {
  try {
    await store.info(ctx, digest)
    return true
  } catch (error) {
    if (isNotFound(error)) return false
    throw error
  }
}
