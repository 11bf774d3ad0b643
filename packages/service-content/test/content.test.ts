import { createHash, randomBytes } from 'node:crypto'
import { encodeMessage } from '@containerd-ts/api'
import { ReadContentResponse, WriteAction, WriteContentRequest } from '@containerd-ts/api/containerd/services/content/v1/content'
import { background, hasCode } from '@containerd-ts/interface'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Fixture, openService } from './fixture.js'

const ctx = background('n')
const missing = `sha256:${'a'.repeat(64)}`

let fixture: Fixture

beforeEach(async () => {
  fixture = await openService()
})

afterEach(() => fixture.close())

async function put(data: Uint8Array): Promise<string> {
  async function* requests() {
    yield WriteContentRequest.fromPartial({
      action: WriteAction.COMMIT,
      ref: 'r',
      data,
      labels: { size: String(data.byteLength) },
    })
  }
  for await (const _ of fixture.service.write(ctx, requests()));
  return `sha256:${createHash('sha256').update(data).digest('hex')}`
}

const failure = (operation: () => Promise<unknown>) =>
  operation()
    .then(() => undefined)
    .catch((error: unknown) => error as Error)

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

/** The answers as a client sees them: each is decoded before the next is asked for. */
async function readPieces(request: { digest: string; offset: number; size: number }): Promise<ReadContentResponse[]> {
  const pieces: ReadContentResponse[] = []
  for await (const message of fixture.service.read(ctx, request))
    pieces.push(ReadContentResponse.decode(Buffer.from(encodeMessage(ReadContentResponse, message))))
  return pieces
}

describe('reading', () => {
  const mebibyte = 1 << 20
  const bytes = randomBytes(2 * mebibyte + 100)

  it.each([
    [0, 0, 0, bytes.length],
    [-5, 0, 0, bytes.length],
    [0, -1, 0, bytes.length],
    [10, 20, 10, 30],
    [mebibyte, 0, mebibyte, bytes.length],
    [bytes.length - 5, 100, bytes.length - 5, bytes.length],
    [bytes.length, 0, bytes.length, bytes.length],
  ])('offset %d size %d', async (offset, size, start, end) => {
    const digest = await put(bytes)
    const pieces = await readPieces({ digest, offset, size })
    expect(Buffer.concat(pieces.map(({ data }) => data)).equals(bytes.subarray(start, end))).toBe(true)
    let expected = 0
    for (const piece of pieces) {
      expect(piece.data.length).toBeLessThanOrEqual(mebibyte)
      // Counted from the start of the answer.
      expect(piece.offset).toBe(expected)
      expected += piece.data.length
    }
  })

  it('fails past the end, and for what is not there', async () => {
    const digest = await put(Buffer.from('abc'))
    const past = await failure(() => all(fixture.service.read(ctx, { digest, offset: 4, size: 0 })))
    expect(past?.message).toBe('read past object length 3 bytes: out of range')
    const gone = await failure(() => all(fixture.service.read(ctx, { digest: missing, offset: 0, size: 0 })))
    expect(gone?.message).toBe(`content digest ${missing}: not found`)
  })
})

it('lists in batches of at most a hundred', async () => {
  expect(await all(fixture.service.list(ctx, { filters: [] }))).toEqual([])
  for (let n = 0; n < 120; n++) await put(Buffer.from(`blob ${n} ${'x'.repeat(n)}`))
  const batches = await all(fixture.service.list(ctx, { filters: [] }))
  expect(batches.map(({ info }) => info.length)).toEqual([100, 20])
  const digests = batches.flatMap(({ info }) => info.map(({ digest }) => digest))
  expect(digests).toEqual([...digests].sort())
})

it('looks at digests first, then at the namespace, then at what is there', async () => {
  const operations = (context: typeof ctx, digest: string) => [
    () => fixture.service.info(context, { digest }),
    () => fixture.service.delete(context, { digest }),
    () => all(fixture.service.read(context, { digest, offset: 0, size: 0 })),
    () =>
      fixture.service.update(context, {
        info: { digest, size: 0, createdAt: undefined, updatedAt: undefined, labels: {} },
        updateMask: [],
      }),
  ]
  for (const operation of operations(background(''), 'x')) expect(hasCode(await failure(operation), 'InvalidArgument')).toBe(true)
  for (const operation of operations(background(''), missing))
    expect(hasCode(await failure(operation), 'FailedPrecondition')).toBe(true)
  for (const operation of operations(ctx, missing)) expect(hasCode(await failure(operation), 'NotFound')).toBe(true)
})

it('changes the labels that the mask names', async () => {
  const digest = await put(Buffer.from('abc'))
  const update = (labels: Record<string, string>, updateMask?: string[]) =>
    fixture.service.update(ctx, { info: { digest, size: 0, createdAt: undefined, updatedAt: undefined, labels }, updateMask })
  expect((await update({ a: 'b', no: 'no' }, ['labels.a'])).info).toMatchObject({ size: 3, labels: { size: '3', a: 'b' } })
  expect((await update({ c: 'd' })).info?.labels).toEqual({ c: 'd' })
})
