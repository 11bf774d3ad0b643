import { isDocumentType } from '@containerd-ts/images'
import { DataLossError, hasCode, NotFoundError, OutOfRangeError, UnavailableError } from '@containerd-ts/interface'
import { type ChunkReader, decoded } from './chunk-reader.js'
import type { Connections } from './connections.js'
import type { Endpoint } from './endpoint.js'
import { collectErrors } from './first-error.js'
import { requestError, statusError } from './registry-error.js'
import { type Remote, type RemoteDescriptor, requestFor } from './remote.js'
import { withRetries } from './retries.js'
import { type Sending, type SentAnswer, send } from './send.js'
import { TransportFailure } from './transport-failure.js'
import { pause } from './waiting.js'

const maxFruitless = 3
const fruitfulBytes = 1024 * 1024
const resumeWaitMs = 50

/** What is fetched: `urls` are other places for it, which are asked first. */
export type Fetched = RemoteDescriptor & { urls?: readonly string[] | undefined }

/** How a place outside of the registry is asked. */
export interface Elsewhere extends Sending {
  connections: Connections
  userAgent: string
}

/** The bytes of content from `offset`; a broken body is taken up again where it broke. */
export async function fetchContent(
  remote: Remote,
  elsewhere: Elsewhere,
  content: Fetched,
  offset: number,
): Promise<AsyncIterable<Uint8Array>> {
  const { sizeBytes } = content
  if (!Number.isSafeInteger(offset) || offset < 0 || (sizeBytes >= 0 && offset > sizeBytes)) {
    throw new OutOfRangeError(`${remote.name}: ${content.digest}: offset ${offset} of ${sizeBytes} bytes`)
  }
  const about = `${remote.name}: ${content.digest}`
  let position = offset
  let reader: ChunkReader | undefined = position === sizeBytes ? undefined : await open(remote, elsewhere, content, position)
  let fruitless = 0
  let lastBreak = position

  async function next(): Promise<IteratorResult<Uint8Array, undefined>> {
    while (reader !== undefined) {
      let chunk: Uint8Array | undefined
      try {
        chunk = await reader.next()
      } catch (error) {
        await resume(error)
        continue
      }
      if (chunk !== undefined) {
        position += chunk.length
        if (sizeBytes < 0 || position <= sizeBytes) return { done: false, value: chunk }
        stop()
        throw new DataLossError(`${about}: unexpected size: more than ${sizeBytes} bytes`)
      }
      if (sizeBytes < 0 || position === sizeBytes) stop()
      else await resume(new DataLossError(`${about}: unexpected size: ${position} bytes, expected ${sizeBytes}`))
    }
    return { done: true, value: undefined }
  }

  // Trouble counts as long as it comes again before much has come.
  async function resume(error: unknown): Promise<void> {
    stop()
    if (position - lastBreak >= fruitfulBytes) fruitless = 0
    lastBreak = position
    while (reader === undefined) {
      if (remote.signal.aborted) throw remote.signal.reason
      fruitless++
      if (fruitless > maxFruitless) {
        if (!(error instanceof TransportFailure)) throw error
        throw new UnavailableError(`${about}: the connection broke at ${position} bytes: ${error.message}`, { cause: error })
      }
      await pause(resumeWaitMs * fruitless, remote.signal)
      try {
        reader = await open(remote, elsewhere, content, position)
      } catch (opening) {
        if (!hasCode(opening, 'Unavailable')) throw opening
        error = opening
      }
    }
  }

  function stop(): void {
    reader?.cancel()
    reader = undefined
  }

  const iterator: AsyncIterableIterator<Uint8Array> = {
    next,
    // Also before the first piece was asked for: what is open must be closed.
    async return() {
      stop()
      return { done: true, value: undefined }
    },
    [Symbol.asyncIterator]: () => iterator,
  }
  return iterator
}

async function open(remote: Remote, elsewhere: Elsewhere, content: Fetched, offset: number): Promise<ChunkReader> {
  const { signal, name } = remote
  const headers = {
    accept: content.mediaType === '' ? '*/*' : `${content.mediaType}, */*`,
    'accept-encoding': 'identity',
    ...(offset > 0 && { range: `bytes=${offset}-` }),
  }
  for (const text of content.urls ?? []) {
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) continue
    try {
      const message = {
        method: 'GET',
        url,
        headers: { 'user-agent': elsewhere.userAgent, ...headers },
        foreign: true,
        checked: true,
        signal,
      } as const
      const answer = await withRetries(() => send(elsewhere, message), { last: false, signal })
      return await bodyFrom(answer, name, content, offset)
    } catch {
      // The registry is asked next, and its error says more.
      if (signal.aborted) throw signal.reason
    }
  }
  const hosts = remote.endpoints.filter((endpoint) => endpoint.can('pull'))
  if (hosts.length === 0) throw new NotFoundError(`${name}: no pull hosts`)
  const target = [remote.reference.repository, isDocumentType(content.mediaType) ? 'manifests' : 'blobs', content.digest]
  const errors = collectErrors()
  for (const [index, host] of hosts.entries()) {
    try {
      return await bodyFrom(await get(host, index === hosts.length - 1), name, content, offset)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      errors.add(error)
    }
  }
  throw errors.chosen(() => new NotFoundError(`${name}: ${content.digest}`))

  function get(host: Endpoint, last: boolean): Promise<SentAnswer> {
    return host.request({ ...requestFor(remote, 'pull', last), method: 'GET', target, headers, checked: true })
  }
}

/** The bytes of an answer from `offset`, also when the server gives all. */
async function bodyFrom(answer: SentAnswer, name: string, content: Fetched, offset: number): Promise<ChunkReader> {
  const { status, headers, body } = answer
  if (status !== 200 && status !== 206) throw await statusError(`${name}: ${content.digest}`, answer)
  try {
    const start = status === 206 ? startOfRange(headers['content-range'], offset, content) : 0
    const encoding = headers['content-encoding']
    const isPlain = encoding === undefined || encoding === '' || encoding === 'identity'
    const length = headers['content-length']
    if (isPlain && length !== undefined && content.sizeBytes >= 0 && Number(length) !== content.sizeBytes - start) {
      throw new DataLossError(`unexpected size: ${Number(length) + start} bytes, expected ${content.sizeBytes}`)
    }
    return await skip(decoded(body, encoding), offset - start)
  } catch (error) {
    body.cancel()
    if (error instanceof DataLossError) throw new DataLossError(`${name}: ${content.digest}: ${error.message}`)
    throw requestError(`${name}: ${content.digest}`, answer.method, answer.url, error)
  }
}

function startOfRange(range: string | undefined, offset: number, { sizeBytes }: Fetched): number {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(range ?? '')
  const [, start, , total] = match ?? []
  if (Number(start) !== offset)
    throw new DataLossError(`unhandled content range in response: ${JSON.stringify((range ?? '').slice(0, 128))}`)
  if (total !== '*' && sizeBytes >= 0 && Number(total) !== sizeBytes) {
    throw new DataLossError(`unexpected size: ${total} bytes, expected ${sizeBytes}`)
  }
  return offset
}

/** A reader without its first `count` bytes. */
async function skip(reader: ChunkReader, count: number): Promise<ChunkReader> {
  let left = count
  while (left > 0) {
    const chunk = await reader.next()
    if (chunk === undefined) throw new DataLossError(`the content ends ${left} bytes before the offset`)
    if (chunk.length > left) {
      const rest = chunk.subarray(left)
      return withFirst(rest, reader)
    }
    left -= chunk.length
  }
  return reader
}

function withFirst(chunk: Uint8Array, reader: ChunkReader): ChunkReader {
  let first: Uint8Array | undefined = chunk
  return {
    async next() {
      const given = first
      first = undefined
      return given ?? reader.next()
    },
    cancel: reader.cancel,
  }
}
