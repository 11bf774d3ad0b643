import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background, hostPlatform } from '@containerd-ts/interface'
import { type AnyRegistration, load, PluginType, SkipPlugin, silentLogger } from '@containerd-ts/plugin'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { introspectionService } from '../src/index.js'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'introspection-'))
})
afterEach(() => rm(dir, { recursive: true }))

const working: AnyRegistration = {
  type: PluginType.Snapshotter,
  id: 'overlayfs',
  requires: [PluginType.Event],
  init(ic) {
    ic.meta.platforms.push(hostPlatform())
    ic.meta.capabilities.push('rebase')
    ic.meta.exports['root'] = '/r'
    return {}
  },
}
const skipped: AnyRegistration = {
  type: PluginType.Snapshotter,
  id: 'btrfs',
  init: () => {
    throw new SkipPlugin('not on btrfs')
  },
}

async function service() {
  const set = await load([introspectionService, working, skipped], { root: dir, state: dir, log: silentLogger })
  const handlers = set.get(PluginType.GRPC).services[0]?.handlers
  return (method: string, request: unknown) => handlers?.[method]?.(background(), request)
}

test('plugins shows what became of each, also of those initialised later', async () => {
  const call = await service()
  expect(await call('plugins', { filters: ['type==io.containerd.snapshotter.v1, id==overlayfs', 'id==btrfs'] })).toMatchObject({
    plugins: [
      {
        id: 'overlayfs',
        requires: ['io.containerd.event.v1'],
        capabilities: ['rebase'],
        exports: { root: '/r' },
        platforms: [{ os: 'linux' }],
        initErr: undefined,
      },
      { id: 'btrfs', initErr: { message: 'not on btrfs: skip plugin' } },
    ],
  })
})

test('the uuid stays, and a damaged one is an error', async () => {
  const call = await service()
  const [first, again] = [await call('server', {}), await (await service())('server', {})]
  expect(again).toEqual(first)
  const path = join(dir, 'io.containerd.grpc.v1.introspection/uuid')
  expect(first).toMatchObject({
    uuid: await readFile(path, 'utf8'),
    pid: process.pid,
    pidns: expect.toSatisfy((inode: number) => inode > 0),
  })
  await writeFile(path, 'garbage')
  await expect(call('server', {})).rejects.toMatchObject({ code: 'DataLoss' })
})

test('an unknown plugin is not found', async () => {
  await mkdir(dir, { recursive: true })
  await expect((await service())('pluginInfo', { type: 't', id: 'i' })).rejects.toMatchObject({
    code: 'NotFound',
    message: expect.stringContaining('plugin t.i not found'),
  })
})
