import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Handlers } from '@containerd-ts/api'
import { Request, Response } from '@containerd-ts/api/containerd/ttrpc/ttrpc'
import { Any } from '@containerd-ts/api/google/protobuf/any'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectTtrpc, isTtrpcClosed, serveTtrpc, type TtrpcConnection, type TtrpcServer, ttrpcError } from '../src/index.js'

const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  name,
  requestType: Any,
  requestStream,
  responseType: Any,
  responseStream,
})
const Echo = {
  name: 'Echo',
  fullName: 'test.Echo',
  methods: {
    say: { ...method('Say', false, false), requestStream: false as const, responseStream: false as const },
    count: { ...method('Count', false, true), requestStream: false as const, responseStream: true as const },
    gather: { ...method('Gather', true, false), requestStream: true as const, responseStream: false as const },
    chat: { ...method('Chat', true, true), requestStream: true as const, responseStream: true as const },
    missing: { ...method('Missing', false, false), requestStream: false as const, responseStream: false as const },
  },
}

interface Ctx {
  namespace: string
  signal: AbortSignal
}

const bytes = (text: string) => Buffer.from(text)
const text = (any: Any) => Buffer.from(any.value).toString()

let aborted: string[] = []

const handlers: Handlers<typeof Echo, Ctx> = {
  say: async (ctx, request) => {
    if (request.typeUrl === 'hang') {
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
      aborted.push(ctx.namespace)
      throw new Error('too late')
    }
    if (request.typeUrl === 'slow') await new Promise((resolve) => setTimeout(resolve, 50))
    if (request.typeUrl === 'fail') throw ttrpcError('NotFound', 'container "x": not found')
    if (request.typeUrl === 'raw') throw new Error('plain words')
    if (request.typeUrl === 'large') return { typeUrl: '', value: Buffer.alloc(5 << 20) }
    return { typeUrl: ctx.namespace, value: request.value }
  },
  count: async function* (_ctx, request) {
    for (let i = 0; i < Number(request.typeUrl); i++) yield { typeUrl: String(i), value: request.value }
    if (request.value.length === 0) throw ttrpcError('Aborted', 'no more: aborted')
  },
  gather: async (_ctx, messages) => {
    const parts: string[] = []
    for await (const message of messages) parts.push(text(message))
    return { typeUrl: '', value: bytes(parts.join(',')) }
  },
  chat: async function* (_ctx, messages) {
    for await (const message of messages) yield { typeUrl: 'echo', value: message.value }
  },
}

let dir: string
let server: TtrpcServer
let connection: TtrpcConnection

beforeEach(async () => {
  aborted = []
  dir = mkdtempSync(join(tmpdir(), 'ttrpc-'))
  server = await serveTtrpc<Ctx>(
    { path: join(dir, 's') },
    {
      services: [{ definition: Echo, handlers }],
      context: (metadata, signal) => ({ namespace: metadata.get('containerd-namespace-ttrpc')?.[0] ?? '', signal }),
    },
  )
  connection = await connectTtrpc(join(dir, 's'))
})

afterEach(() => {
  connection.close()
  server.destroy()
  rmSync(dir, { recursive: true })
})

const client = () => connection.client(Echo, { 'Containerd-Namespace-TTRPC': 'ns1' })

describe('unary calls', () => {
  test('carry payload and metadata, run concurrently and are answered out of order', async () => {
    const order: string[] = []
    const slow = client()
      .say({ typeUrl: 'slow', value: bytes('a') })
      .then((r) => order.push(text(r)))
    const quick = client().say({ value: bytes('b') }, { metadata: { 'containerd-namespace-ttrpc': 'ns2' } })
    expect(await quick.then((r) => [r.typeUrl, order.push(text(r))])).toEqual(['ns2', 1])
    await slow
    expect(order).toEqual(['b', 'a'])
  })

  test('fail with the status of the error', async () => {
    await expect(client().say({ typeUrl: 'fail' })).rejects.toMatchObject({
      code: 'NotFound',
      message: 'container "x": not found',
    })
    await expect(client().say({ typeUrl: 'raw' })).rejects.toMatchObject({ status: { code: 2, message: 'plain words' } })
    await expect(client().missing({})).rejects.toMatchObject({ code: 'Unimplemented', message: 'method Missing' })
    const other = connection.client({ ...Echo, fullName: 'test.Other' })
    await expect(other.say({})).rejects.toMatchObject({ code: 'Unimplemented', message: 'service test.Other' })
  })

  test('time out on both sides, and can be cancelled', async () => {
    await expect(client().say({ typeUrl: 'hang' }, { timeoutMs: 30 })).rejects.toMatchObject({ code: 'DeadlineExceeded' })
    await expect.poll(() => aborted).toEqual(['ns1'])
    await expect(client().say({ typeUrl: 'hang' }, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'Canceled' })
    expect(text(await client().say({ value: bytes('still here') }))).toBe('still here')
  })

  test('beyond 4 MiB are refused where they are made, either way, and leave the connection alone', async () => {
    const value = Buffer.alloc((4 << 20) + 1)
    await expect(client().say({ value })).rejects.toMatchObject({ code: 'ResourceExhausted' })
    await expect(client().say({ typeUrl: 'large' })).rejects.toMatchObject({ code: 'ResourceExhausted' })
    const large = Buffer.alloc((4 << 20) - 100, 'x')
    expect(Buffer.compare((await client().say({ value: large })).value, large)).toBe(0)
  })
})

describe('streams', () => {
  const words = async function* (...values: string[]) {
    for (const value of values) yield { value: bytes(value) }
  }

  test('of the server end, or fail in the middle', async () => {
    const urls: string[] = []
    for await (const message of client().count({ typeUrl: '300', value: bytes('v') })) urls.push(message.typeUrl)
    expect(urls.length).toBe(300)
    const read = async () => {
      for await (const message of client().count({ typeUrl: '2' })) urls.push(message.typeUrl)
    }
    await expect(read()).rejects.toMatchObject({ code: 'Aborted' })
    expect(urls.slice(300)).toEqual(['0', '1'])
  })

  test('of the client and of both', async () => {
    expect(text(await client().gather(words('a', 'b', 'c')))).toBe('a,b,c')
    expect(text(await client().gather(words()))).toBe('')
    const heard: string[] = []
    for await (const message of client().chat(words('x', 'y'))) heard.push(text(message))
    expect(heard).toEqual(['x', 'y'])
  })
})

describe('the end of a connection', () => {
  test('fails pending calls and aborts their handlers', async () => {
    const pending = client().say({ typeUrl: 'hang' })
    await client().say({})
    connection.close()
    const error: unknown = await pending.catch((e: unknown) => e)
    expect(isTtrpcClosed(error)).toBe(true)
    await expect.poll(() => aborted).toEqual(['ns1'])
    await expect(client().say({})).rejects.toMatchObject({ message: 'ttrpc: closed', code: 'Unavailable' })
  })

  test('by a graceful shutdown comes after the running call', async () => {
    const running = client().say({ typeUrl: 'slow', value: bytes('done') })
    await new Promise((resolve) => setTimeout(resolve, 10))
    const closed = server.close()
    expect(text(await running)).toBe('done')
    await closed
    await connection.closed
  })
})

describe('raw frames', () => {
  let socket: Socket
  let received: Buffer

  const frame = (length: number, id: number, type: number, flags: number, payload = Buffer.alloc(0)) => {
    const head = Buffer.alloc(10)
    head.writeUInt32BE(length, 0)
    head.writeUInt32BE(id, 4)
    head[8] = type
    head[9] = flags
    return Buffer.concat([head, payload])
  }
  const request = (id: number, value: string) => {
    const payload = Buffer.from(
      Request.encode({
        service: 'test.Echo',
        method: 'Say',
        payload: Any.encode({ typeUrl: '', value: bytes(value) }).finish(),
        timeoutNano: 0n,
        metadata: [{ key: 'traceparent', value: '00' }],
      }).finish(),
    )
    return frame(payload.length, id, 1, 0, payload)
  }
  const answer = async () => {
    await expect.poll(() => received.length >= 10 && received.length >= 10 + received.readUInt32BE(0)).toBe(true)
    const end = 10 + received.readUInt32BE(0)
    const response = Response.decode(received.subarray(10, end))
    const id = received.readUInt32BE(4)
    received = received.subarray(end)
    return [id, response.status?.code ?? 0, response.status?.message ?? text(Any.decode(response.payload))]
  }

  beforeEach(() => {
    received = Buffer.alloc(0)
    socket = connect({ path: join(dir, 's') })
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
    })
  })
  afterEach(() => socket.destroy())

  test('must have odd, increasing ids', async () => {
    socket.write(request(2, 'x'))
    expect(await answer()).toEqual([2, 3, 'StreamID must be odd for client initiated streams'])
    socket.write(request(3, 'x'))
    expect(await answer()).toEqual([3, 0, 'x'])
    socket.write(request(1, 'x'))
    expect(await answer()).toEqual([1, 3, 'StreamID cannot be re-used and must increment'])
    socket.write(frame(0, 9, 3, 0))
    expect(await answer()).toEqual([9, 3, 'StreamID is no longer active'])
    socket.write(frame(0, 11, 77, 0))
    socket.write(request(13, 'unknown types are ignored'))
    expect(await answer()).toEqual([13, 0, 'unknown types are ignored'])
  })

  test('may come in pieces of any size, and too large ones are skipped', async () => {
    const all = Buffer.concat([
      request(1, 'one'),
      frame((4 << 20) + 5, 3, 1, 0, Buffer.alloc((4 << 20) + 5, 7)),
      request(5, 'two'),
    ])
    let pieceSize = 1
    for (let offset = 0; offset < all.length; offset += pieceSize, pieceSize = Math.min(pieceSize * 2, 70_001)) {
      socket.write(all.subarray(offset, offset + pieceSize))
      await new Promise((resolve) => setImmediate(resolve))
    }
    const answers = [await answer(), await answer(), await answer()]
    expect(answers.sort(([a], [b]) => Number(a) - Number(b))).toEqual([
      [1, 0, 'one'],
      [3, 8, 'message length 4194309 exceed maximum message size of 4194304'],
      [5, 0, 'two'],
    ])
  })
})
