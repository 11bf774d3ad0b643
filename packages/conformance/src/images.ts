import assert from 'node:assert/strict'
import type { Descriptor, ImageStore } from '@containerd-ts/interface'
import { eachTest, type UnderTest } from './each-test.js'
import { collect, failsWith, stampedWithin } from './expect.js'
import { digest, type ImageChanges, imageOf, names } from './records.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** A {@link ImageStore} for one test: a fresh one, or a namespace of its own. */
export type ImageStoreUnderTest = UnderTest<ImageStore>

/** What every {@link ImageStore} must do, one store or one namespace for each test. */
export function imageStoreSuite(api: TestApi, open: () => Promise<ImageStoreUnderTest>): void {
  const test = eachTest(api, open)
  api.describe('image store', () => {
    test('are made, read, listed in byte order and deleted', async ({ store: images, ctx }) => {
      for (const name of [...names].reverse()) {
        const image = await stampedWithin(
          () => images.create(ctx, imageOf(name, { labels: { name, none: '' } })),
          ({ createdAt, updatedAt }) => [createdAt, updatedAt],
        )
        assert.deepEqual(image.labels, { name })
        assert.deepEqual(image.createdAt, image.updatedAt)
        assert.deepEqual(await images.get(ctx, name), image)
      }
      const list = async (...filters: string[]) => (await collect(images.list(ctx, filters))).map(({ name }) => name)
      assert.deepEqual(await list(), names)
      assert.deepEqual(await list('name~=^a', `labels.name=="B"`), ['B', 'a', 'a/b:c', 'ab'])
      assert.deepEqual(await list(`target.digest==${digest('a')},name==ab`), ['ab'])
      assert.deepEqual(await list('target.mediatype==other'), [])
      await failsWith('InvalidArgument', () => collect(images.list(ctx, ['name=a'])))
      const error = await failsWith('AlreadyExists', () => images.create(ctx, imageOf('a')))
      assert.equal(error.message, 'image "a": already exists')
      await images.delete(ctx, 'a')
      for (const operation of [
        () => images.get(ctx, 'a'),
        () => images.delete(ctx, 'a'),
        () => images.update(ctx, imageOf('a'), []),
      ]) {
        assert.match((await failsWith('NotFound', operation)).message, /^image "a": not found$/)
      }
      await images.create(ctx, imageOf('a'))
    })

    test('change as the field paths say', async ({ store: images, ctx }) => {
      const { createdAt } = await images.create(ctx, imageOf('i', { labels: { a: '1', 'b.c/d': '2' }, annotations: { x: '1' } }))
      const update = (changes: ImageChanges, ...fieldpaths: string[]) =>
        stampedWithin(
          () => images.update(ctx, imageOf('i', changes), fieldpaths),
          ({ updatedAt }) => [updatedAt],
        )
      const target = (descriptor: Partial<Descriptor>): Descriptor => ({ ...imageOf('i').target, ...descriptor })
      let image = await update({ labels: { a: 'x', n: 'y' }, digest: digest('b') }, 'labels.a', 'labels.b.c/d')
      assert.deepEqual([image.labels, image.target], [{ a: 'x' }, target({ annotations: { x: '1' } })])
      image = await update({ annotations: { y: '2', z: '3' } }, 'annotations.y')
      assert.deepEqual([image.labels, image.target], [{ a: 'x' }, target({ annotations: { x: '1', y: '2' } })])
      image = await update({ annotations: { z: '3' } }, 'annotations', 'labels')
      assert.deepEqual([image.labels, image.target], [{}, target({ annotations: { z: '3' } })])
      image = await update({ digest: digest('b'), labels: { no: 'no' } }, 'target')
      assert.deepEqual([image.labels, image.target], [{}, target({ digest: digest('b') })])
      image = await update({ labels: { all: 'new' }, annotations: { a: 'a' } })
      assert.deepEqual([image.labels, image.target], [{ all: 'new' }, target({ annotations: { a: 'a' } })])
      assert.deepEqual(image.createdAt, createdAt)
      const error = await failsWith('InvalidArgument', () => update({ labels: { no: 'no' } }, 'labels', 'target.digest'))
      assert.match(error.message, /^cannot update "target.digest" field on image "i"/)
      assert.deepEqual(await images.get(ctx, 'i'), image)
    })

    test('take the time of their source where it is given', async ({ store: images, ctx }) => {
      const early = { seconds: 1000, nanos: 5 }
      const later = { seconds: 2000, nanos: 6 }
      const image = await images.create(ctx, { ...imageOf('i'), sourceDateEpoch: early })
      assert.deepEqual([image.createdAt, image.updatedAt], [early, early])
      const updated = await images.update(ctx, { ...imageOf('i'), sourceDateEpoch: later }, [])
      assert.deepEqual([updated.createdAt, updated.updatedAt], [early, later])
    })

    test('are deleted only with the target that is asked for', async ({ store: images, ctx }) => {
      await images.create(ctx, imageOf('i'))
      const error = await failsWith('NotFound', () => images.delete(ctx, 'i', digest('b')))
      assert.equal(error.message, `image "i" has target ${digest('a')}, not ${digest('b')}: not found`)
      await images.delete(ctx, 'i', digest('a'))
    })

    test('are refused when malformed, changed or not', async ({ store: images, ctx }) => {
      await images.create(ctx, imageOf('there'))
      for (const [changes, reason] of [
        [{ digest: 'sha256:abc' }, /target.Digest "sha256:abc" invalid: invalid checksum digest length/],
        [{ digest: '' }, /target.Digest/],
        [{ sizeBytes: 0 }, /target.Size must be greater than zero/],
        [{ mediaType: '' }, /target.MediaType must be set/],
        [
          { labels: { k: 'v'.repeat(4096) } },
          /image.Labels: label key and value length \(4097 bytes\) greater than maximum size/,
        ],
      ] as const) {
        assert.match((await failsWith('InvalidArgument', () => images.create(ctx, imageOf('new', changes)))).message, reason)
        assert.match(
          (await failsWith('InvalidArgument', () => images.update(ctx, imageOf('there', changes), []))).message,
          reason,
        )
      }
      await failsWith('InvalidArgument', () => images.create(ctx, imageOf('')))
      await failsWith('InvalidArgument', () => images.update(ctx, imageOf(''), []))
    })
  })
}
