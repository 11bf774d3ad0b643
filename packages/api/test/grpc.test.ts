import * as grpc from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ContentDefinition, WriteAction } from '../src/gen/containerd/services/content/v1/content.js'
import { createGrpcClient, grpcServiceDefinition } from '../src/index.js'

const server = new grpc.Server()
let connection: grpc.Client
let canceled: Promise<void>

beforeAll(async () => {
  let sawCancel = () => {}
  canceled = new Promise((resolve) => {
    sawCancel = resolve
  })
  server.addService(grpcServiceDefinition(ContentDefinition), {
    info: (call: grpc.ServerUnaryCall<{ digest: string }, unknown>, callback: grpc.sendUnaryData<unknown>) => {
      const [namespace] = call.metadata.get('containerd-namespace')
      if (namespace !== 'test') return callback({ code: grpc.status.FAILED_PRECONDITION, details: 'namespace is required' })
      return callback(null, { info: { digest: call.request.digest, size: 3_000_000_000, labels: { a: 'b' } } })
    },
    read: (call: grpc.ServerWritableStream<unknown, unknown>) => {
      call.write({ offset: 0, data: Buffer.from('first') })
      call.on('cancelled', sawCancel)
    },
    write: (call: grpc.ServerDuplexStream<{ data: Uint8Array }, unknown>) => {
      call.on('data', ({ data }) => call.write({ action: WriteAction.WRITE, offset: data.length, total: 0, digest: '' }))
      call.on('end', () => call.end())
    },
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  connection = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
})

afterAll(() => {
  connection.close()
  server.forceShutdown()
})

test('a unary call carries metadata, large integers and maps', async () => {
  const content = createGrpcClient(ContentDefinition, connection, { 'containerd-namespace': 'test' })
  expect(await content.info({ digest: 'sha256:1' })).toMatchObject({
    info: { digest: 'sha256:1', size: 3_000_000_000, labels: { a: 'b' } },
  })
  await expect(content.info({ digest: 'x' }, { metadata: { 'containerd-namespace': 'other' } })).rejects.toMatchObject({
    code: grpc.status.FAILED_PRECONDITION,
  })
})

test('a consumer that stops reading cancels the call', async () => {
  const content = createGrpcClient(ContentDefinition, connection)
  for await (const { data } of content.read({ digest: 'sha256:1' })) {
    expect(Buffer.from(data).toString()).toBe('first')
    break
  }
  await canceled
})

test('a stream in both directions ends when both sides are done', async () => {
  const content = createGrpcClient(ContentDefinition, connection)
  async function* requests() {
    yield { action: WriteAction.WRITE, data: Buffer.alloc(10) }
    yield { action: WriteAction.WRITE, data: Buffer.alloc(20) }
  }
  const offsets = []
  for await (const { offset } of content.write(requests())) offsets.push(offset)
  expect(offsets).toEqual([10, 20])
})
