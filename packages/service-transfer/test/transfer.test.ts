import { type Any, packAny, typeName } from '@containerd-ts/api'
import {
  AuthRequest,
  AuthResponse,
  AuthType,
  Data,
  ImageExportStream,
  ImageImportStream,
  ImageStore,
  OCIRegistry,
  Progress,
  RegistryResolver,
  WindowUpdate,
} from '@containerd-ts/api/containerd/types/transfer/transfer'
import {
  background,
  CanceledError,
  type MessageStream,
  NotFoundError,
  type StreamManager,
  type Transferrer,
  UnimplementedError,
} from '@containerd-ts/interface'
import { expect, test } from 'vitest'
import { transferServiceOf } from '../src/index.js'

const types = 'containerd.types.transfer'
const store = packAny(`${types}.ImageStore`, ImageStore, ImageStore.fromPartial({ name: 'a' }))

/** A stream and the client at its other end. */
function streamPair() {
  const toDaemon: (Any | undefined)[] = []
  const toClient: (Any | undefined)[] = []
  const wakes = new Set<() => void>()
  const wake = () => {
    for (const each of wakes) each()
    wakes.clear()
  }
  async function take(queue: (Any | undefined)[]): Promise<Any | undefined> {
    while (queue.length === 0) await new Promise<void>((resolve) => wakes.add(resolve))
    return queue.shift()
  }
  const put = (queue: (Any | undefined)[], message: Any | undefined) => {
    queue.push(message)
    wake()
  }
  let closed = false
  const stream: MessageStream = {
    receive: () => take(toDaemon),
    async send(message) {
      if (closed) throw new CanceledError('closed')
      put(toClient, message)
    },
    close() {
      if (!closed) put(toClient, undefined)
      closed = true
    },
  }
  return {
    stream,
    client: {
      receive: () => take(toClient),
      send: (message: Any) => put(toDaemon, message),
      end: () => put(toDaemon, undefined),
    },
  }
}

function managerOf(streams: Readonly<Record<string, MessageStream>>): StreamManager {
  return {
    register: () => () => {},
    get(_, name) {
      const stream = streams[name]
      if (stream === undefined) throw new NotFoundError(`stream "${name}"`)
      return stream
    },
  }
}

function call(
  request: { source?: Any; destination?: Any; options?: object },
  streams: StreamManager,
  ...transferrers: Transferrer[]
) {
  const handler = transferServiceOf({ transferrers, streams }).handlers['transfer']
  return handler?.(background('ns'), request)
}

test('an archive comes in as fast as it is used, and no faster', async () => {
  const { stream, client } = streamPair()
  const total = 5_000_000
  let allowed = 0
  let sent = 0
  const sending = (async () => {
    while (sent < total) {
      while (allowed <= 0) {
        const message = await client.receive()
        allowed += WindowUpdate.decode(message?.value ?? new Uint8Array()).update
      }
      const data = Buffer.alloc(Math.min(32 * 1024, allowed, total - sent), sent % 251)
      allowed -= data.length
      sent += data.length
      client.send(packAny(`${types}.Data`, Data, { data }))
    }
    client.end()
  })()
  let used = 0
  let most = 0
  const source = packAny(`${types}.ImageImportStream`, ImageImportStream, ImageImportStream.fromPartial({ stream: 'in' }))
  await call({ source, destination: store }, managerOf({ in: stream }), {
    async transfer(_, from) {
      if (from.kind !== 'import') throw new UnimplementedError('that')
      for await (const piece of from.bytes) {
        await new Promise((resolve) => setImmediate(resolve))
        used += piece.length
        most = Math.max(most, sent - used)
      }
    },
  })
  await sending
  expect(used).toBe(total)
  expect(most).toBeLessThanOrEqual(1024 * 1024)
})

test('an archive goes out within what the client allows, and its stream ends also when it breaks off', async () => {
  const { stream, client } = streamPair()
  const source = store
  const destination = packAny(`${types}.ImageExportStream`, ImageExportStream, ImageExportStream.fromPartial({ stream: 'out' }))
  const done = call({ source, destination }, managerOf({ out: stream }), {
    async transfer(_, _from, to) {
      if (to.kind !== 'export') throw new UnimplementedError('that')
      await to.write(
        (async function* () {
          yield Buffer.alloc(100_000, 1)
          yield Buffer.alloc(50_000, 2)
          throw new NotFoundError('a layer')
        })(),
      )
    },
  })
  const settled = expect(done).rejects.toMatchObject({ code: 'NotFound' })
  const pieces: Uint8Array[] = []
  let allowed = 0
  for (;;) {
    if (allowed === 0) {
      allowed = 64 * 1024
      client.send(packAny(`${types}.WindowUpdate`, WindowUpdate, { update: allowed }))
    }
    const message = await client.receive()
    if (message === undefined) break
    const { data } = Data.decode(message.value)
    allowed -= data.length
    expect(allowed).toBeGreaterThanOrEqual(0)
    pieces.push(data)
  }
  await settled
  expect(Buffer.concat([Buffer.alloc(100_000, 1), Buffer.alloc(50_000, 2)]).equals(Buffer.concat(pieces))).toBe(true)
})

test('a client is asked for credentials one question at a time, and told of progress in order', async () => {
  const auth = streamPair()
  const progress = streamPair()
  const resolver = RegistryResolver.fromPartial({ authStream: 'auth', headers: { A: 'b' } })
  const source = packAny(`${types}.OCIRegistry`, OCIRegistry, { reference: 'host/name:tag', resolver })
  const answering = (async () => {
    const hosts: string[] = []
    for (;;) {
      const message = await auth.client.receive()
      if (message === undefined) return hosts
      const { host } = AuthRequest.decode(message.value)
      hosts.push(host)
      const answer = { authType: AuthType.CREDENTIALS, username: 'me', secret: `for ${host}`, expireAt: undefined }
      auth.client.send(packAny(`${types}.AuthResponse`, AuthResponse, answer))
    }
  })()
  const secrets: (string | undefined)[] = []
  const manager = managerOf({ auth: auth.stream, progress: progress.stream })
  await call({ source, destination: store, options: { progressStream: 'progress' } }, manager, {
    async transfer(_, from, _to, onProgress) {
      if (from.kind !== 'registry') throw new UnimplementedError('that')
      expect(from.headers).toEqual({ A: 'b' })
      const ask = (host: string) => from.credentials?.({ host, reference: from.reference, wwwAuthenticate: ['Basic'] })
      for (const answer of await Promise.all([ask('one'), ask('two')])) secrets.push(answer?.secret)
      onProgress?.({ event: 'first', name: 'x', parents: ['y'], progress: 1, total: 2 })
      onProgress?.({ event: 'second' })
    },
  })
  // The streams end with the call.
  expect(await answering).toEqual(['one', 'two'])
  expect(secrets).toEqual(['for one', 'for two'])
  const told: Progress[] = []
  for (let message = await progress.client.receive(); message; message = await progress.client.receive()) {
    expect(typeName(message.typeUrl)).toBe(`${types}.Progress`)
    told.push(Progress.decode(message.value))
  }
  expect(told.map(({ event }) => event)).toEqual(['first', 'second'])
  expect(told[0]).toMatchObject({ name: 'x', parents: ['y'], progress: 1, total: 2 })
})

test('transferrers are asked in turn until one can, and a stream that is missing is found before anything is done', async () => {
  const asked: string[] = []
  const refuses: Transferrer = {
    transfer: () => {
      asked.push('refuses')
      return Promise.reject(new UnimplementedError('not I'))
    },
  }
  const does: Transferrer = {
    async transfer() {
      asked.push('does')
    },
  }
  await call({ source: store, destination: store }, managerOf({}), refuses, does, refuses)
  expect(asked).toEqual(['refuses', 'does'])
  await expect(call({ source: store, destination: store }, managerOf({}), refuses)).rejects.toMatchObject({
    code: 'Unimplemented',
    message: expect.stringContaining(`method Transfer not implemented for ${types}.ImageStore to ${types}.ImageStore`),
  })
  asked.length = 0
  const source = packAny(`${types}.ImageImportStream`, ImageImportStream, ImageImportStream.fromPartial({ stream: 'gone' }))
  await expect(call({ source, destination: store }, managerOf({}), does)).rejects.toMatchObject({ code: 'NotFound' })
  await expect(call({ destination: store }, managerOf({}), does)).rejects.toMatchObject({ code: 'InvalidArgument' })
  expect(asked).toEqual([])
})
