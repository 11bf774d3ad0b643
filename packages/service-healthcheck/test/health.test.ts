import { HealthCheckResponse_ServingStatus as ServingStatus } from '@containerd-ts/api/grpc/health/v1/health'
import { background } from '@containerd-ts/interface'
import { load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { expect, test } from 'vitest'
import { healthService } from '../src/index.js'

async function handlers() {
  const set = await load([healthService], { root: '/r', state: '/s', log: silentLogger })
  return set.get(PluginType.GRPC).services[0]?.handlers ?? {}
}

test('the daemon is serving, other services are unknown', async () => {
  const { check } = await handlers()
  expect(await check?.(background(), { service: '' })).toEqual({ status: ServingStatus.SERVING })
  await expect(check?.(background(), { service: 'x' })).rejects.toMatchObject({ code: 'NotFound' })
})

test('a watch says the present state and ends with its caller', async () => {
  const { watch } = await handlers()
  if (watch === undefined) throw new Error('no watch')
  const controller = new AbortController()
  const seen: unknown[] = []
  const answers = watch(background('', { signal: controller.signal }), { service: 'x' }) as AsyncIterable<unknown>
  for await (const message of answers) {
    seen.push(message)
    controller.abort()
  }
  expect(seen).toEqual([{ status: ServingStatus.SERVICE_UNKNOWN }])
})
