import { background } from '@containerd-ts/interface'
import { load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { expect, test } from 'vitest'
import { versionService } from '../src/index.js'

test('answers what the daemon calls itself', async () => {
  const daemon = { version: 'v1.2.3', revision: 'abc' }
  const set = await load([versionService], { root: '/r', state: '/s', log: silentLogger, daemon })
  expect(await set.get(PluginType.GRPC).services[0]?.handlers['version']?.(background(), {})).toEqual(daemon)
})
