import { type Any, packAny } from '@containerd-ts/api'
import { StreamInit } from '@containerd-ts/api/containerd/services/streaming/v1/streaming'
import { background, type Context } from '@containerd-ts/interface'
import { expect, test } from 'vitest'
import { createStreamManager, streamingServiceOf } from '../src/index.js'

const initType = 'containerd.services.streaming.v1.StreamInit'
const message = (text: string): Any => ({ typeUrl: 'text', value: Buffer.from(text) })

/** A client of the Stream method: what it sends is a list to which it may add. */
function open(ctx: Context = background('ns'), manager = createStreamManager()) {
  const sent: Any[] = []
  let ended = false
  let wake = () => {}
  async function* requests() {
    for (;;) {
      const next = sent.shift()
      if (next !== undefined) yield next
      else if (ended || ctx.signal.aborted) return
      else await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  ctx.signal.addEventListener('abort', () => wake())
  const handler = streamingServiceOf({ manager }).handlers['stream']
  const responses = handler?.(ctx, requests()) as AsyncIterable<Any>
  return {
    manager,
    responses: responses[Symbol.asyncIterator](),
    send(any: Any) {
      sent.push(any)
      wake()
    },
    end() {
      ended = true
      wake()
    },
  }
}

async function opened(id: string, ctx?: Context, manager?: ReturnType<typeof createStreamManager>) {
  const client = open(ctx, manager)
  client.send(packAny(initType, StreamInit, { id }))
  expect((await client.responses.next()).value).toEqual({ typeUrl: 'google.protobuf.Empty', value: new Uint8Array(0) })
  return client
}

async function rest(responses: AsyncIterator<Any>): Promise<Any[]> {
  const all: Any[] = []
  for (let step = await responses.next(); !step.done; step = await responses.next()) all.push(step.value)
  return all
}

test('a stream is there when the client hears so, carries messages both ways, and ends for both', async () => {
  const client = await opened('a')
  const stream = client.manager.get(background('ns'), 'a')
  expect(() => client.manager.get(background('other'), 'a')).toThrow('stream "a": not found')

  client.send(message('to the daemon'))
  expect(await stream.receive()).toEqual(message('to the daemon'))
  const received = rest(client.responses)
  await stream.send(message('to the client'))
  client.end()
  expect(await stream.receive()).toBeUndefined()

  // What was sent before the end still arrives.
  const last = stream.send(message('last'))
  stream.close()
  await last
  expect(await received).toEqual([message('to the client'), message('last')])
  await expect(stream.send(message('late'))).rejects.toMatchObject({ code: 'Canceled' })
  expect(() => client.manager.get(background('ns'), 'a')).toThrow('not found')
})

test('a client that goes away is noticed by whoever sends and receives, and its name is free again', async () => {
  const controller = new AbortController()
  const client = await opened('a', background('ns', { signal: controller.signal }))
  const stream = client.manager.get(background('ns'), 'a')
  const received = rest(client.responses)
  await stream.send(message('taken'))
  const receiving = stream.receive()
  controller.abort()
  await expect(receiving).rejects.toMatchObject({ code: 'Canceled' })
  await expect(stream.send(message('nobody'))).rejects.toMatchObject({ code: 'Canceled' })
  await received
  await opened('a', background('ns'), client.manager)
})

test('a name is taken once in a namespace', async () => {
  const { manager } = await opened('a')
  await expect(opened('a', background('ns'), manager)).rejects.toMatchObject({ code: 'AlreadyExists' })
  await opened('a', background('other'), manager)
})

test.each([
  ['nothing', undefined],
  ['another message', message('x')],
  ['no name', packAny(initType, StreamInit, { id: '' })],
])('a stream that begins with %s is refused', async (_, first) => {
  const client = open()
  if (first === undefined) client.end()
  else client.send(first)
  await expect(client.responses.next()).rejects.toMatchObject({ code: 'InvalidArgument' })
})
