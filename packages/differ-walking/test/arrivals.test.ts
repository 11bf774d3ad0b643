import { createExchange } from '@containerd-ts/events-exchange'
import { background } from '@containerd-ts/interface'
import { expect, test, vi } from 'vitest'
import { warmOnArrivals } from '../src/arrivals.js'

test('a blob that arrives has a thread started, whatever else happens', async () => {
  const events = createExchange()
  const warm = vi.fn()
  const closing = new AbortController()
  const warming = warmOnArrivals(events, { warm }, closing.signal)
  const event = { typeUrl: 'x', value: new Uint8Array() }
  for (const topic of ['/images/create', '/content/create', '/content/delete'])
    await events.publish(background('ns'), topic, event)
  await expect.poll(() => warm.mock.calls.length).toBe(1)
  closing.abort()
  await warming
  await events.publish(background('ns'), '/content/create', event)
  expect(warm).toHaveBeenCalledTimes(1)
})
