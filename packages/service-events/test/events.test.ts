import { packAny } from '@containerd-ts/api'
import { ContainerDelete } from '@containerd-ts/api/containerd/events/container'
import { eventExchange } from '@containerd-ts/events-exchange'
import { background } from '@containerd-ts/interface'
import { load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { expect, it } from 'vitest'
import { eventsService, ttrpcEventsService } from '../src/index.js'

async function open() {
  const set = await load([eventExchange, eventsService, ttrpcEventsService], { root: '/r', state: '/s', log: silentLogger })
  const handlers = (type: typeof PluginType.GRPC | typeof PluginType.TTRPC) => set.get(type).services[0]?.handlers ?? {}
  return { grpc: handlers(PluginType.GRPC), ttrpc: handlers(PluginType.TTRPC) }
}

const event = packAny('containerd.events.ContainerDelete', ContainerDelete, { id: 'c' })

it('hands what is published and forwarded, over either transport, to whoever subscribed before', async () => {
  const { grpc, ttrpc } = await open()
  const abort = new AbortController()
  const stream = grpc['subscribe']?.(background('', { signal: abort.signal }), { filters: ['namespace==n'] })
  const envelope = (namespace: string) => ({ envelope: { timestamp: undefined, namespace, topic: '/x/y', event } })
  await grpc['publish']?.(background('n'), { topic: '/containers/delete', event })
  await grpc['publish']?.(background('m'), { topic: '/containers/delete', event })
  await grpc['forward']?.(background(''), envelope('n'))
  await ttrpc['forward']?.(background(''), {
    envelope: { timestamp: { seconds: 7, nanos: 8 }, namespace: 'n', topic: '/test', event: undefined },
  })
  const seen: unknown[] = []
  for await (const each of stream as AsyncIterable<unknown>) if (seen.push(each) === 3) abort.abort()
  expect(seen).toMatchObject([
    { namespace: 'n', topic: '/containers/delete', event },
    { timestamp: { seconds: 0, nanos: 0 }, namespace: 'n', topic: '/x/y', event },
    { timestamp: { seconds: 7, nanos: 8 }, namespace: 'n', topic: '/test', event: { typeUrl: '' } },
  ])
})

it('wants a namespace to publish and an envelope to forward', async () => {
  const { grpc } = await open()
  await expect(grpc['publish']?.(background(''), { topic: '/x', event })).rejects.toMatchObject({ code: 'FailedPrecondition' })
  await expect(grpc['forward']?.(background(''), { envelope: undefined })).rejects.toMatchObject({ code: 'InvalidArgument' })
})
