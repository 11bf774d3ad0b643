import assert from 'node:assert/strict'
import { compareTimestamps } from '@containerd-ts/api'
import type { ContainerStore, ContainerWrite } from '@containerd-ts/interface'
import { eachTest, type UnderTest } from './each-test.js'
import { collect, failsWith, stampedWithin } from './expect.js'
import { bytesOf, containerOf } from './records.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** A {@link ContainerStore} for one test: a fresh one, or a namespace of its own. */
export type ContainerStoreUnderTest = UnderTest<ContainerStore>

/** What every {@link ContainerStore} must do, one store or one namespace for each test. */
export function containerStoreSuite(api: TestApi, open: () => Promise<ContainerStoreUnderTest>): void {
  const test = eachTest(api, open)
  api.describe('container store', () => {
    test('are made, read, listed in byte order and deleted', async ({ store: containers, ctx }) => {
      const payload = { typeUrl: 'example.com/unknown', value: new Uint8Array([0, 255, 1, 2]) }
      for (const id of ['c', 'B', 'a']) {
        const container = await stampedWithin(
          () =>
            containers.create(
              ctx,
              containerOf(id, { labels: { id }, extensions: { 'x/y': payload }, spec: payload, image: `image ${id}` }),
            ),
          ({ createdAt, updatedAt }) => [createdAt, updatedAt],
        )
        assert.deepEqual(container.createdAt, container.updatedAt)
        const read = await containers.get(ctx, id)
        assert.deepEqual([bytesOf(read.spec), bytesOf(read.extensions['x/y'])], [bytesOf(payload), bytesOf(payload)])
        assert.deepEqual(
          [read.id, read.image, read.runtime.name, read.labels],
          [id, `image ${id}`, 'io.containerd.runc.v2', { id }],
        )
      }
      const list = async (...filters: string[]) => (await collect(containers.list(ctx, filters))).map(({ id }) => id)
      assert.deepEqual(await list(), ['B', 'a', 'c'])
      assert.deepEqual(await list('id==a', 'labels.id==c'), ['a', 'c'])
      assert.deepEqual(await list('runtime.name==io.containerd.runc.v2,image=="image B"'), ['B'])
      await failsWith('AlreadyExists', () => containers.create(ctx, containerOf('a')))
      await containers.delete(ctx, 'a')
      for (const operation of [
        () => containers.get(ctx, 'a'),
        () => containers.delete(ctx, 'a'),
        () => containers.update(ctx, containerOf('a'), []),
      ]) {
        await failsWith('NotFound', operation)
      }
    })

    test('change as the field paths say', async ({ store: containers, ctx }) => {
      const any = (text: string) => ({ typeUrl: 'x', value: Buffer.from(text) })
      const { createdAt } = await containers.create(
        ctx,
        containerOf('c', { labels: { a: '1', b: '2' }, spec: any('one'), image: 'i' }),
      )
      const update = (changes: Partial<ContainerWrite>, ...fieldpaths: string[]) =>
        containers.update(ctx, containerOf('c', changes), fieldpaths)
      let container = await update({ labels: { b: 'x' }, image: 'no' }, 'labels.a', 'labels.b')
      assert.deepEqual([container.labels, container.image], [{ b: 'x' }, 'i'])
      container = await update(
        { spec: any('two'), extensions: { e: any('e'), f: any('f') }, image: 'j' },
        'spec',
        'extensions.e',
        'image',
      )
      assert.deepEqual(
        [bytesOf(container.spec), Object.keys(container.extensions), container.image],
        [bytesOf(any('two')), ['e'], 'j'],
      )
      await failsWith('InvalidArgument', () => update({ snapshotKey: 'k' }, 'snapshotkey'))
      container = await update({ labels: { all: 'new' }, image: 'k' })
      assert.deepEqual([container.labels, container.image, bytesOf(container.spec)], [{ all: 'new' }, 'k', bytesOf(any('two'))])
      assert.deepEqual(container.createdAt, createdAt)
      assert.ok(compareTimestamps(container.updatedAt, createdAt) > 0)
      for (const [changes, path] of [
        [{ snapshotter: 'other' }, undefined],
        [{ runtime: { name: 'other' } }, undefined],
        [{ labels: { a: 'b' } }, 'snapshot_key'],
        [{ labels: { a: 'b' } }, 'runtime'],
      ] as const) {
        await failsWith('InvalidArgument', () => update(changes, ...(path === undefined ? [] : ['labels', path])))
      }
      assert.deepEqual((await containers.get(ctx, 'c')).labels, { all: 'new' })
    })

    test('are refused when malformed', async ({ store: containers, ctx }) => {
      for (const [changes, reason] of [
        [{ id: 'a/b' }, /^create container failed validation: .*identifier "a\/b" must match/],
        [{ id: '' }, /identifier must not be empty/],
        [{ id: 'x'.repeat(77) }, /greater than maximum length \(76 characters\)/],
        [{ runtime: { name: '' } }, /container.Runtime.Name must be set/],
        [{ snapshotKey: 'k' }, /container.Snapshotter must be set if container.SnapshotKey is set/],
        [{ labels: { k: 'v'.repeat(4096) } }, /containers.Labels/],
        [{ extensions: { '': { typeUrl: '', value: new Uint8Array() } } }, /[Ee]xtension/],
      ] as const) {
        assert.match(
          (await failsWith('InvalidArgument', () => containers.create(ctx, containerOf('c', changes)))).message,
          reason,
        )
      }
      assert.deepEqual(await collect(containers.list(ctx, [])), [])
    })
  })
}
