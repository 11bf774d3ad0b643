import { type Any, packAny } from '@containerd-ts/api'
import { ContainerCreate } from '@containerd-ts/api/containerd/events/container'
import { TaskCreate } from '@containerd-ts/api/containerd/events/task'
import { ImageCreate } from '@containerd-ts/api/containerd/services/images/v1/events'
import { background, type Envelope, hasCode } from '@containerd-ts/interface'
import { describe, expect, it } from 'vitest'
import { createExchange } from '../src/exchange.js'

const empty: Any = { typeUrl: '', value: new Uint8Array() }
const ctx = background('test')

function cancellable() {
  const controller = new AbortController()
  return { ctx: background('', { signal: controller.signal }), cancel: () => controller.abort() }
}

async function take(events: AsyncIterable<Envelope>, count: number): Promise<string[]> {
  const topics: string[] = []
  for await (const { topic } of events) if (topics.push(topic) === count) break
  return topics
}

const failure = (promise: Promise<unknown>) => promise.then(() => undefined).catch((error: unknown) => error as Error)

describe('exchange', () => {
  it('delivers everything published since the call of subscribe, in order, to every subscriber', async () => {
    const exchange = createExchange()
    await exchange.publish(ctx, '/too/early', empty)
    const first = exchange.subscribe(background(), [])
    const second = exchange.subscribe(background(), ['topic~=|^/b|'])
    for (const topic of ['/a', '/b/one', '/c', '/b/two']) await exchange.publish(ctx, topic, empty)
    expect(await take(first, 4)).toEqual(['/a', '/b/one', '/c', '/b/two'])
    expect(await take(second, 2)).toEqual(['/b/one', '/b/two'])
  })

  it('stamps what is published and passes on what is forwarded unchanged', async () => {
    const exchange = createExchange()
    const events = exchange.subscribe(background(), [])[Symbol.asyncIterator]()
    const before = Date.now()
    await exchange.publish(ctx, '/x', empty)
    const published = (await events.next()).value as Envelope
    expect(published.namespace).toBe('test')
    expect(published.timestamp.seconds * 1000 + published.timestamp.nanos / 1e6).toBeGreaterThanOrEqual(before)
    const envelope = { timestamp: { seconds: 0, nanos: 0 }, namespace: 'other', topic: '/y', event: empty }
    await exchange.forward(background(), envelope)
    expect((await events.next()).value).toBe(envelope)
  })

  it('ends a subscription quietly when its context is cancelled, waiting or not', async () => {
    const exchange = createExchange()
    const { ctx: cancelled, cancel } = cancellable()
    const events = exchange.subscribe(cancelled, [])[Symbol.asyncIterator]()
    const waiting = events.next()
    cancel()
    expect(await waiting).toEqual({ done: true, value: undefined })
    await exchange.publish(ctx, '/x', empty)
    expect((await events.next()).done).toBe(true)
    expect((await exchange.subscribe(cancelled, [])[Symbol.asyncIterator]().next()).done).toBe(true)
  })

  it('cuts off only the subscriber that falls too far behind, after giving it what was queued', async () => {
    const exchange = createExchange({ queueLimit: 3 })
    const slow = exchange.subscribe(background(), [])[Symbol.asyncIterator]()
    const reading = take(exchange.subscribe(background(), []), 5)
    for (let i = 0; i < 5; i++) {
      await exchange.publish(ctx, `/n/${i}`, empty)
      await Promise.resolve()
    }
    expect(await reading).toHaveLength(5)
    for (let i = 0; i < 3; i++) expect(((await slow.next()).value as Envelope).topic).toBe(`/n/${i}`)
    const error = await failure(slow.next())
    expect(hasCode(error, 'ResourceExhausted')).toBe(true)
    expect((await slow.next()).done).toBe(true)
  })

  it.each(['', 'x', '/', '/x/', '//x', '/tasks/?', '/a b', '/x/../y'])('refuses the topic %j', async (topic) => {
    const exchange = createExchange()
    expect(hasCode(await failure(exchange.publish(ctx, topic, empty)), 'InvalidArgument')).toBe(true)
    const envelope = { timestamp: { seconds: 0, nanos: 0 }, namespace: 'n', topic, event: empty }
    expect(hasCode(await failure(exchange.forward(ctx, envelope)), 'InvalidArgument')).toBe(true)
  })

  it('refuses a missing or malformed namespace and a malformed filter', async () => {
    const exchange = createExchange()
    expect(hasCode(await failure(exchange.publish(background(), '/x', empty)), 'FailedPrecondition')).toBe(true)
    for (const namespace of ['', 'a/b']) {
      const envelope = { timestamp: { seconds: 0, nanos: 0 }, namespace, topic: '/x', event: empty }
      expect((await failure(exchange.forward(background(), envelope)))?.message).toMatch(
        /^event envelope has invalid namespace: /,
      )
    }
    expect(() => exchange.subscribe(background(), ['a=b'])).toThrow(/parse error/)
  })
})

describe('filters on the payload', () => {
  const container = packAny(
    'containerd.events.ContainerCreate',
    ContainerCreate,
    ContainerCreate.fromPartial({ id: 'c1', runtime: { name: 'rt' } }),
  )
  const task = packAny(
    'type.googleapis.com/containerd.events.TaskCreate',
    TaskCreate,
    TaskCreate.fromPartial({ containerId: 'c1', pid: 7, io: { terminal: true } }),
  )
  const image = packAny(
    'containerd.services.images.v1.ImageCreate',
    ImageCreate,
    ImageCreate.fromPartial({ name: 'i', labels: { 'a.b/c': 'd' } }),
  )
  const broken = { typeUrl: 'containerd.events.TaskExit', value: new Uint8Array([0xff, 0xff]) }

  it.each<[string, string[]]>([
    ['event.id==c1', ['/container']],
    ['event.runtime.name==rt', ['/container']],
    ['event.container_id==c1', ['/task']],
    ['event.containerId==c1', []],
    ['event.io.terminal==true', ['/task']],
    ['event.pid', []],
    ['event.labels."a.b/c"==d', ['/image']],
    ['event.image', []],
    ['event.constructor', []],
    ['event', []],
    ['timestamp', []],
    ['namespace==test,event.name==i', ['/image']],
  ])('%s', async (filter, expected) => {
    const exchange = createExchange()
    const events = exchange.subscribe(background(), [filter, 'topic=="/end"'])
    await exchange.publish(ctx, '/container', container)
    await exchange.publish(ctx, '/task', task)
    await exchange.publish(ctx, '/image', image)
    await exchange.publish(ctx, '/broken', broken)
    await exchange.publish(ctx, '/unknown', { typeUrl: 'x.Y', value: new Uint8Array([8, 1]) })
    await exchange.publish(ctx, '/end', empty)
    expect(await take(events, expected.length + 1)).toEqual([...expected, '/end'])
  })
})
