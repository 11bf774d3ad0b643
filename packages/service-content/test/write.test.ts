import { createHash } from 'node:crypto'
import { compareTimestamps, zeroTimestamp } from '@containerd-ts/api'
import {
  WriteAction,
  WriteContentRequest,
  type WriteContentResponse,
} from '@containerd-ts/api/containerd/services/content/v1/content'
import { background, type Context, hasCode, isNotFound } from '@containerd-ts/interface'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Fixture, openService } from './fixture.js'

const { STAT, WRITE, COMMIT } = WriteAction
const ctx = background('n')
const bytes = Buffer.from('0123456789')
const digest = digestOf(bytes)

function digestOf(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`
}

let fixture: Fixture

beforeEach(async () => {
  fixture = await openService()
})

afterEach(() => fixture.close())

type Message = Parameters<typeof WriteContentRequest.fromPartial>[0]

/** A client that sends a message when it has the answer to the one before, as all do. */
function session(context: Context = ctx) {
  let deliver: (message: IteratorResult<WriteContentRequest>) => void = () => {}
  let asked: Promise<IteratorResult<WriteContentRequest>> = new Promise((resolve) => {
    deliver = resolve
  })
  const requests: AsyncIterable<WriteContentRequest> = {
    [Symbol.asyncIterator]: () => ({
      next: () => asked,
      return: async () => ({ done: true, value: undefined }),
    }),
  }
  const responses = fixture.service.write(context, requests)[Symbol.asyncIterator]()
  const give = (message: IteratorResult<WriteContentRequest>) => {
    const respond = deliver
    asked = new Promise((resolve) => {
      deliver = resolve
    })
    // The server asks for this one before it is given.
    respond(message)
  }
  let first = true
  const exchange = async (message: IteratorResult<WriteContentRequest>) => {
    const pending = responses.next()
    if (first) first = false
    give(message)
    return pending
  }
  return {
    async send(message: Message): Promise<WriteContentResponse> {
      const { value } = await exchange({ done: false, value: WriteContentRequest.fromPartial(message) })
      if (value === undefined) throw new Error('the stream has ended')
      return value
    },
    halfClose: () => exchange({ done: true, value: undefined }),
    ended: async () => (await responses.next()).done,
    cancel: () => responses.return?.(),
  }
}

const failure = (operation: Promise<unknown>) => operation.then(() => undefined).catch((error: unknown) => error as Error)

async function put(data: Uint8Array = bytes, ref = `put ${data.byteLength}`): Promise<void> {
  await session().send({ action: COMMIT, ref, data, total: data.byteLength })
}

describe('a write session', () => {
  it('answers every message with its state, and ends with the commit', async () => {
    const { send, ended } = session()
    const opened = await send({ action: STAT, ref: 'r', total: 10, expected: digest })
    expect(opened).toMatchObject({ action: STAT, offset: 0, total: 10, digest: digestOf(Buffer.alloc(0)) })
    expect(opened.startedAt).toEqual(opened.updatedAt)
    const half = await send({ action: WRITE, data: bytes.subarray(0, 5) })
    expect(half).toMatchObject({ action: WRITE, offset: 5, total: 10, digest: digestOf(bytes.subarray(0, 5)) })
    // The time of the write; the total is that of the last STAT.
    expect(compareTimestamps(half.updatedAt ?? zeroTimestamp, opened.updatedAt ?? zeroTimestamp)).toBeGreaterThan(0)
    const later = await send({ action: STAT, data: Buffer.from('ignored') })
    expect(later.offset).toBe(5)
    expect(later.updatedAt).not.toEqual(opened.updatedAt)
    expect(await send({ action: WRITE, offset: 5, data: bytes.subarray(5) })).toMatchObject({ offset: 10, digest })
    const done = await send({ action: COMMIT, offset: 10, labels: { a: 'b' } })
    expect(done).toMatchObject({ action: COMMIT, offset: 10, digest })
    expect(await ended()).toBe(true)
    expect((await fixture.metadata.content.info(ctx, digest)).labels).toEqual({ a: 'b' })
  })

  it('begins with any action', async () => {
    expect(await session().send({ action: COMMIT, ref: 'a', data: bytes })).toMatchObject({ offset: 10, digest })
    const { send, cancel } = session()
    expect(await send({ action: WRITE, ref: 'b', data: bytes })).toMatchObject({ offset: 10, digest })
    expect(await send({ action: 7 as WriteAction, data: bytes })).toMatchObject({ action: 7, offset: 10 })
    await cancel()
  })

  it('needs a ref first and a namespace', async () => {
    expect((await failure(session().send({ action: STAT })))?.message).toBe(
      'first message must have a reference: invalid argument',
    )
    expect((await failure(session(background('')).send({ ref: 'r' })))?.message).toBe(
      'namespace is required: failed precondition',
    )
  })

  it('takes total and digest of any message for all later ones', async () => {
    const { send } = session()
    await send({ action: STAT, ref: 'r', total: 3 })
    await send({ action: WRITE, data: bytes, total: 9 })
    expect((await failure(send({ action: COMMIT, offset: 10 })))?.message).toBe(
      '"r" failed size validation: 10 != 9: failed precondition',
    )
    const again = session()
    expect(await again.send({ action: STAT, ref: 'r', total: 9, expected: digestOf(Buffer.from('x')) })).toMatchObject({
      offset: 0,
      total: 9,
    })
    await again.cancel()
  })

  it('writes only where it is, or from the beginning again', async () => {
    const { send } = session()
    await send({ action: WRITE, ref: 'r', data: bytes })
    expect(await send({ action: WRITE, offset: 0, data: Buffer.from('abc') })).toMatchObject({
      offset: 3,
      digest: digestOf(Buffer.from('abc')),
    })
    const error = await failure(send({ action: WRITE, offset: 5, data: bytes }))
    expect(error?.message).toBe('write @5 must occur at current offset 3: out of range')
    const resumed = session()
    expect(await resumed.send({ action: STAT, ref: 'r' })).toMatchObject({ offset: 3 })
    // A commit at offset 0 discards what was written, too.
    expect(await resumed.send({ action: COMMIT, offset: 0 })).toMatchObject({ offset: 0, digest: digestOf(Buffer.alloc(0)) })
  })

  it('keeps the bytes of a client that stops, and frees the ref', async () => {
    const closed = session()
    await closed.send({ action: WRITE, ref: 'r', data: bytes.subarray(0, 4) })
    expect(await closed.halfClose()).toEqual({ done: true, value: undefined })
    const cancelled = session()
    expect(await cancelled.send({ action: STAT, ref: 'r' })).toMatchObject({ offset: 4 })
    await cancelled.send({ action: WRITE, offset: 4, data: bytes.subarray(4, 6) })
    expect(hasCode(await failure(session().send({ ref: 'r' })), 'Unavailable')).toBe(true)
    await cancelled.cancel()
    expect(await session().send({ action: STAT, ref: 'r' })).toMatchObject({ offset: 6, digest: digestOf(bytes.subarray(0, 6)) })
  })

  it('ends when the content is there, at once or as soon as it is told what is expected', async () => {
    await put()
    expect((await failure(session().send({ ref: 'a', expected: digest })))?.message).toBe(`content ${digest}: already exists`)
    const { send } = session()
    await send({ action: WRITE, ref: 'b', data: Buffer.from('abc') })
    expect((await failure(send({ action: WRITE, offset: 3, expected: digest })))?.message).toBe(
      `blob with expected digest ${digest} exists: already exists`,
    )
    const unaware = session()
    await unaware.send({ action: WRITE, ref: 'c', data: bytes })
    expect(hasCode(await failure(unaware.send({ action: COMMIT, offset: 10 })), 'AlreadyExists')).toBe(true)
    for (const ref of ['a', 'b', 'c']) expect(isNotFound(await failure(fixture.service.status(ctx, { ref })))).toBe(true)
  })

  it('begins full where another namespace has the blob', async () => {
    await put()
    const { send } = session(background('other'))
    expect(await send({ action: STAT, ref: 'r', total: 10, expected: digest })).toMatchObject({ offset: 10, digest })
    expect(await send({ action: COMMIT, offset: 10, total: 10, expected: digest })).toMatchObject({ offset: 10, digest })
  })
})
