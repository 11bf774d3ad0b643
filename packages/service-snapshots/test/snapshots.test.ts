import type { Handlers } from '@containerd-ts/api'
import { Kind, type SnapshotsDefinition } from '@containerd-ts/api/containerd/services/snapshots/v1/snapshots'
import { background, type Context, type MetadataStore, type SnapshotInfo, type Snapshotter } from '@containerd-ts/interface'
import { type AnyRegistration, load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { expect, it } from 'vitest'
import { snapshotsService } from '../src/index.js'

const ctx = background('n')
const stamp = { seconds: 1, nanos: 2 }
const mounts = [{ type: 'bind', source: '/s', target: '', options: ['rw'] }]
const info = (name: string): SnapshotInfo => ({
  kind: 'active',
  name,
  parent: 'p',
  labels: { a: 'b' },
  createdAt: stamp,
  updatedAt: stamp,
})

async function open() {
  const calls: unknown[][] = []
  const record =
    <T>(name: string, result: T) =>
    async (_ctx: Context, ...args: unknown[]) => {
      calls.push([name, ...args])
      return result
    }
  const snapshotter: Snapshotter = {
    stat: record('stat', info('k')),
    update: record('update', info('k')),
    usage: record('usage', { inodes: 3, sizeBytes: 4096 }),
    mounts: record('mounts', mounts),
    prepare: record('prepare', mounts),
    view: record('view', mounts),
    commit: record('commit', undefined),
    remove: record('remove', undefined),
    async *walk(_ctx, filters) {
      calls.push(['walk', filters])
      for (let n = 0; n < 201; n++) yield info(String(n))
    },
  }
  const metadata: Pick<MetadataStore, 'snapshotters'> = { snapshotters: new Map([['fake', snapshotter]]) }
  const plugin: AnyRegistration = { type: PluginType.Metadata, id: 'fake', init: () => metadata }
  const set = await load([plugin, snapshotsService], { root: '/r', state: '/s', log: silentLogger })
  const service = set.get(PluginType.GRPC).services[0]?.handlers as Required<Handlers<typeof SnapshotsDefinition, Context>>
  return { service, calls }
}

it('asks the named snapshotter', async () => {
  const { service, calls } = await open()
  const snapshotter = 'fake'
  const labels = { x: 'y' }
  expect(await service.prepare(ctx, { snapshotter, key: 'k', parent: 'p', labels })).toEqual({ mounts })
  expect(await service.view(ctx, { snapshotter, key: 'v', parent: '', labels: {} })).toEqual({ mounts })
  expect(await service.mounts(ctx, { snapshotter, key: 'k' })).toEqual({ mounts })
  await service.commit(ctx, { snapshotter, name: 'c', key: 'k', labels, parent: 'p' })
  await service.remove(ctx, { snapshotter, key: 'c' })
  const wire = { ...info('k'), kind: Kind.ACTIVE }
  expect(await service.stat(ctx, { snapshotter, key: 'k' })).toEqual({ info: wire })
  expect(await service.update(ctx, { snapshotter, info: wire, updateMask: ['labels.a'] })).toEqual({ info: wire })
  expect(await service.usage(ctx, { snapshotter, key: 'k' })).toEqual({ size: 4096, inodes: 3 })
  expect(calls).toEqual([
    ['prepare', 'k', 'p', { labels }],
    ['view', 'v', '', { labels: {} }],
    ['mounts', 'k'],
    ['commit', 'c', 'k', { labels, parent: 'p' }],
    ['remove', 'c'],
    ['stat', 'k'],
    ['update', { name: 'k', labels: { a: 'b' } }, ['labels.a']],
    ['usage', 'k'],
  ])
})

it('lists in batches of at most a hundred', async () => {
  const { service } = await open()
  const sizes: number[] = []
  for await (const batch of service.list(ctx, { snapshotter: 'fake', filters: [] })) sizes.push(batch.info.length)
  expect(sizes).toEqual([100, 100, 1])
})

it('looks at the snapshotter first, then at the namespace', async () => {
  const { service, calls } = await open()
  const nowhere = background('')
  await expect(service.stat(nowhere, { snapshotter: '', key: 'k' })).rejects.toThrow(
    /^snapshotter argument missing: invalid argument$/,
  )
  await expect(service.stat(nowhere, { snapshotter: 'x', key: 'k' })).rejects.toThrow(
    /^snapshotter not loaded: x: invalid argument$/,
  )
  await expect(service.stat(nowhere, { snapshotter: 'fake', key: 'k' })).rejects.toThrow('namespace is required')
  await expect(service.cleanup(nowhere, { snapshotter: 'fake' })).rejects.toThrow(
    'snapshotter does not implement Cleanup method: not implemented',
  )
  expect(calls).toEqual([])
})
