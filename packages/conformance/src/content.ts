import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import type { ContentStore, ContentWriter, Context } from '@containerd-ts/interface'
import { eachTest, type UnderTest } from './each-test.js'
import { collect, failsWith, stampedWithin } from './expect.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** A {@link ContentStore} for one test: a fresh one, or a namespace of its own. */
export type ContentStoreUnderTest = UnderTest<ContentStore>

/** What every {@link ContentStore} must do, one store for each test. */
export function contentStoreSuite(api: TestApi, open: () => Promise<ContentStoreUnderTest>): void {
  const onStore = eachTest(api, open)
  const test = (name: string, run: (store: ContentStore, ctx: Context) => Promise<void>) =>
    onStore(name, ({ store, ctx }) => run(store, ctx))

  api.describe('content store', () => {
    test('a blob arrives in pieces and is read in pieces', async (store, ctx) => {
      const bytes = randomBytes(3 * 1024 * 1024 + 17)
      const writer = await stampedWithin(
        () => store.writer(ctx, { ref: 'a', total: bytes.length }),
        (w) => [w.status().startedAt, w.status().updatedAt],
      )
      const { startedAt } = writer.status()
      assert.deepEqual(pick(writer), { ref: 'a', offset: 0, total: bytes.length, digest: digestOf(Buffer.alloc(0)) })
      for (const end of [1, 100_000, 2_500_000, bytes.length]) {
        const { offset } = writer.status()
        await stampedWithin(
          () => writer.write(bytes.subarray(offset, end)),
          () => [writer.status().updatedAt],
        )
        assert.deepEqual(pick(writer), { ref: 'a', offset: end, total: bytes.length, digest: digestOf(bytes.subarray(0, end)) })
        assert.deepEqual(writer.status().startedAt, startedAt)
        assert.equal((await store.status(ctx, 'a')).offset, end)
      }
      const info = await stampedWithin(
        () => writer.commit(ctx, { sizeBytes: bytes.length, expected: digestOf(bytes), labels: { a: 'b', none: '' } }),
        (committed) => [committed.createdAt, committed.updatedAt],
      )
      await writer.close()
      assert.equal(info.sizeBytes, bytes.length)
      assert.deepEqual(info.labels, { a: 'b' })
      assert.deepEqual(info.createdAt, info.updatedAt)
      assert.deepEqual(await store.info(ctx, digestOf(bytes)), info)
      await failsWith('NotFound', () => store.status(ctx, 'a'))

      const reader = await store.reader(ctx, digestOf(bytes))
      assert.equal(reader.sizeBytes, bytes.length)
      const target = Buffer.alloc(1000)
      assert.equal(await reader.read(target, 1_234_567), 1000)
      assert.ok(target.equals(bytes.subarray(1_234_567, 1_235_567)))
      assert.equal(await reader.read(target, bytes.length - 10), 10)
      assert.equal(await reader.read(target, bytes.length), 0)
      await reader.close()
      await reader.close()
      assert.ok(bytes.equals(await readAll(store, ctx, digestOf(bytes))))
    })

    test('what the caller does with a buffer after a write does not matter', async (store, ctx) => {
      const writer = await store.writer(ctx, { ref: 'a' })
      const buffer = Buffer.alloc(100, 'x')
      await writer.write(buffer)
      buffer.fill('y')
      const { digest } = await writer.commit(ctx, {})
      assert.equal(digest, digestOf(Buffer.alloc(100, 'x')))
      assert.ok((await readAll(store, ctx, digest)).equals(Buffer.alloc(100, 'x')))
    })

    test('several refs are written at once, with size and digest or without', async (store, ctx) => {
      const digests = await Promise.all(
        [0, 1, 2, 3].map(async (variant) => {
          const bytes = randomBytes(200_000)
          const total = (variant & 1) === 0 ? {} : { total: bytes.length }
          const expected = (variant & 2) === 0 ? {} : { expected: digestOf(bytes) }
          const writer = await store.writer(ctx, { ref: `ref ${variant}`, ...total, ...expected })
          for (let at = 0; at < bytes.length; at += 30_000) await writer.write(bytes.subarray(at, at + 30_000))
          const info = await writer.commit(ctx, expected)
          await writer.close()
          assert.equal(info.digest, digestOf(bytes))
          return info.digest
        }),
      )
      assert.deepEqual((await collect(store.walk(ctx, []))).map(({ digest }) => digest).sort(), digests.sort())
    })

    test('nothing is a blob, too', async (store, ctx) => {
      const writer = await store.writer(ctx, { ref: 'empty' })
      const { digest, sizeBytes } = await writer.commit(ctx, {})
      assert.deepEqual({ digest, sizeBytes }, { digest: digestOf(Buffer.alloc(0)), sizeBytes: 0 })
      assert.equal((await readAll(store, ctx, digest)).length, 0)
    })

    test('an expected digest chooses the algorithm', async (store, ctx) => {
      const bytes = randomBytes(100_000)
      for (const algorithm of ['sha384', 'sha512']) {
        const expected = digestOf(bytes, algorithm)
        const writer = await store.writer(ctx, { ref: algorithm, expected })
        await writer.write(bytes)
        assert.equal((await writer.commit(ctx, { expected })).digest, expected)
        assert.ok(bytes.equals(await readAll(store, ctx, expected)))
      }
    })

    for (const size of [500, 50_000]) {
      for (const percent of [0, 10, 50, 90, 100]) {
        test(`${size} bytes go on after ${percent} %`, async (store, ctx) => {
          const bytes = randomBytes(size)
          const part = bytes.subarray(0, (size * percent) / 100)
          const first = await store.writer(ctx, { ref: 'a', total: size })
          await first.write(part)
          const before = { status: first.status(), digest: first.digest() }
          await first.close()
          assert.equal((await store.status(ctx, 'a')).offset, part.length)

          const second = await store.writer(ctx, { ref: 'a', total: size })
          assert.deepEqual({ status: second.status(), digest: second.digest() }, before)
          await second.write(bytes.subarray(part.length))
          const { digest } = await second.commit(ctx, { sizeBytes: size, expected: digestOf(bytes) })
          assert.ok(bytes.equals(await readAll(store, ctx, digest)))
        })
      }
    }

    test('a writer starts again from nothing, and so does one of another total', async (store, ctx) => {
      const writer = await store.writer(ctx, { ref: 'a', total: 100 })
      await writer.write(randomBytes(70))
      await writer.truncate()
      assert.equal(writer.status().offset, 0)
      assert.equal(writer.digest(), digestOf(Buffer.alloc(0)))
      await writer.write(Buffer.from('abc'))
      await writer.close()
      const other = await store.writer(ctx, { ref: 'a', total: 4 })
      assert.deepEqual(pick(other), { ref: 'a', offset: 0, total: 4, digest: digestOf(Buffer.alloc(0)) })
      await other.write(Buffer.from('abcd'))
      assert.equal((await other.commit(ctx, { sizeBytes: 4 })).digest, digestOf(Buffer.from('abcd')))
    })

    test('a ref has one writer at a time', async (store, ctx) => {
      const first = await store.writer(ctx, { ref: 'a' })
      await failsWith('Unavailable', () => store.writer(ctx, { ref: 'a' }))
      const other = await store.writer(ctx, { ref: 'b' })
      await other.close()
      await first.close()
      await first.close()
      const second = await store.writer(ctx, { ref: 'a' })
      // A writer that is done no longer has the ref to give back.
      await first.close()
      await failsWith('Unavailable', () => store.writer(ctx, { ref: 'a' }))
      await second.close()
    })

    test('a writer is of no use after close or commit', async (store, ctx) => {
      const closed = await store.writer(ctx, { ref: 'a' })
      await closed.close()
      const committed = await store.writer(ctx, { ref: 'b' })
      await committed.commit(ctx, {})
      for (const writer of [closed, committed]) {
        await failsWith('FailedPrecondition', () => writer.write(Buffer.from('x')))
        await failsWith('FailedPrecondition', () => writer.truncate())
        await failsWith('FailedPrecondition', () => writer.commit(ctx, {}))
        await writer.close()
      }
    })

    test('a wrong size or digest keeps the data, and the ref is free again', async (store, ctx) => {
      const bytes = randomBytes(1000)
      let writer = await store.writer(ctx, { ref: 'a' })
      await writer.write(bytes)
      const size = await failsWith('FailedPrecondition', () => writer.commit(ctx, { sizeBytes: 999 }))
      assert.match(size.message, /failed size validation: 1000 != 999/)
      writer = await store.writer(ctx, { ref: 'a' })
      assert.equal(writer.status().offset, 1000)
      const digest = await failsWith('FailedPrecondition', () => writer.commit(ctx, { expected: digestOf(Buffer.from('x')) }))
      assert.match(digest.message, /unexpected commit digest/)
      writer = await store.writer(ctx, { ref: 'a' })
      await failsWith('InvalidArgument', () => writer.commit(ctx, { labels: { k: 'v'.repeat(4096) } }))
      await failsWith('NotFound', () => store.info(ctx, digestOf(bytes)))
      writer = await store.writer(ctx, { ref: 'a' })
      assert.equal((await writer.commit(ctx, { sizeBytes: 1000, expected: digestOf(bytes) })).digest, digestOf(bytes))
    })

    test('bytes that are there already end the write', async (store, ctx) => {
      const bytes = randomBytes(1000)
      await put(store, ctx, bytes, { first: 'yes' })
      await failsWith('AlreadyExists', () => store.writer(ctx, { ref: 'a', expected: digestOf(bytes) }))
      for (const expected of [{}, { expected: digestOf(bytes) }]) {
        const writer = await store.writer(ctx, { ref: 'a' })
        await writer.write(bytes)
        await failsWith('AlreadyExists', () => writer.commit(ctx, { ...expected, labels: { second: 'yes' } }))
        await failsWith('NotFound', () => store.status(ctx, 'a'))
        const again = await store.writer(ctx, { ref: 'a' })
        assert.equal(again.status().offset, 0)
        await again.close()
        await store.abort(ctx, 'a')
      }
      assert.deepEqual((await store.info(ctx, digestOf(bytes))).labels, { first: 'yes' })
    })

    test('of two writers with the same bytes one wins', async (store, ctx) => {
      const bytes = randomBytes(1000)
      const writers = await Promise.all(['a', 'b', 'c'].map((ref) => store.writer(ctx, { ref })))
      const outcomes = await Promise.allSettled(
        writers.map(async (writer) => {
          await writer.write(bytes)
          return writer.commit(ctx, {})
        }),
      )
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') await failsWith('AlreadyExists', () => Promise.reject(outcome.reason))
      assert.deepEqual(await store.listStatuses(ctx, []), [])
    })

    test('an aborted ingest is gone, also for the writer that has it', async (store, ctx) => {
      const closed = await store.writer(ctx, { ref: 'closed' })
      await closed.write(Buffer.from('abc'))
      await closed.close()
      const open = await store.writer(ctx, { ref: 'open' })
      await open.write(Buffer.from('abc'))
      for (const ref of ['closed', 'open']) {
        await store.abort(ctx, ref)
        await failsWith('NotFound', () => store.abort(ctx, ref))
        await failsWith('NotFound', () => store.status(ctx, ref))
      }
      await failsWith('Unavailable', () => store.writer(ctx, { ref: 'open' }))
      await open.write(Buffer.from('def'))
      await assert.rejects(open.commit(ctx, {}))
      await open.close()
      const fresh = await store.writer(ctx, { ref: 'open' })
      assert.equal(fresh.status().offset, 0)
      await fresh.close()
      assert.deepEqual(await collect(store.walk(ctx, [])), [])
    })

    test('ingests are listed by their refs', async (store, ctx) => {
      let open: ContentWriter | undefined
      for (const ref of ['layer-sha256:abc', 'config', 'ü/../x y']) {
        const writer = await store.writer(ctx, { ref })
        await writer.write(Buffer.from(ref))
        if (ref === 'config') open = writer
        else await writer.close()
      }
      const all = await store.listStatuses(ctx, [])
      assert.deepEqual(all.map(({ ref, offset }) => `${ref} ${offset}`).sort(), ['config 6', 'layer-sha256:abc 16', 'ü/../x y 9'])
      const some = await store.listStatuses(ctx, ['ref~=^layer-'])
      assert.deepEqual(
        some.map(({ ref }) => ref),
        ['layer-sha256:abc'],
      )
      await failsWith('InvalidArgument', () => store.listStatuses(ctx, ['ref=x']))
      await open?.close()
    })

    test('labels change as the field paths say', async (store, ctx) => {
      const { digest, createdAt } = await put(store, ctx, randomBytes(100), { a: '1', b: '2', 'c.d/e': '3' })
      const update = (labels: Record<string, string>, ...fieldpaths: string[]) =>
        stampedWithin(
          () => store.update(ctx, { digest, labels }, fieldpaths),
          (info) => [info.updatedAt],
        )
      assert.deepEqual((await update({ a: 'x', b: 'y' }, 'labels.a')).labels, { a: 'x', b: '2', 'c.d/e': '3' })
      assert.deepEqual((await update({ 'c.d/e': 'z' }, 'labels.c.d/e', 'labels.b')).labels, { a: 'x', 'c.d/e': 'z' })
      assert.deepEqual((await update({ n: '1', empty: '' })).labels, { n: '1' })
      const info = await update({ m: '2' }, 'labels')
      assert.deepEqual(info.labels, { m: '2' })
      assert.deepEqual(info.createdAt, createdAt)
      await failsWith('InvalidArgument', () => store.update(ctx, { digest, labels: { a: '1' } }, ['labels.a', 'size']))
      await failsWith('InvalidArgument', () => store.update(ctx, { digest, labels: { a: 'v'.repeat(4096) } }, ['labels.a']))
      assert.deepEqual(await store.info(ctx, digest), info)
    })

    test('blobs are listed by digest and labels, and may be deleted meanwhile', async (store, ctx) => {
      const infos = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          put(store, ctx, randomBytes(10), { n: String(n), 'a/b': n % 2 === 0 ? 'even' : 'odd' }),
        ),
      )
      const find = async (...filters: string[]) =>
        (await collect(store.walk(ctx, filters))).map(({ labels }) => Number(labels['n'])).sort((a, b) => a - b)
      assert.deepEqual(await find(`digest==${infos[3]?.digest}`, 'labels.n==7'), [3, 7])
      assert.deepEqual(await find('labels."a/b"==even,labels.n~=/^1.$/'), [10, 12, 14, 16, 18])
      assert.deepEqual(await find('labels.missing'), [])
      await failsWith('InvalidArgument', () => collect(store.walk(ctx, ['labels.'])))
      for await (const { digest } of store.walk(ctx, [])) await store.delete(ctx, digest)
      assert.deepEqual(await collect(store.walk(ctx, [])), [])
    })

    test('a reader goes on when its blob is deleted', async (store, ctx) => {
      const bytes = randomBytes(1000)
      const { digest } = await put(store, ctx, bytes)
      const reader = await store.reader(ctx, digest)
      await store.delete(ctx, digest)
      await failsWith('NotFound', () => store.info(ctx, digest))
      const target = Buffer.alloc(1000)
      assert.equal(await reader.read(target, 0), 1000)
      assert.ok(target.equals(bytes))
      await reader.close()
    })

    test('what is not there and what is no digest is told apart', async (store, ctx) => {
      const operations = (digest: string) => [
        () => store.info(ctx, digest),
        () => store.update(ctx, { digest, labels: {} }, []),
        () => store.reader(ctx, digest),
        () => store.delete(ctx, digest),
      ]
      const hex = 'a'.repeat(64)
      for (const operation of operations(`sha256:${hex}`)) await failsWith('NotFound', operation)
      for (const digest of [
        '',
        'sha256',
        `sha256:${hex.slice(1)}`,
        `md5:${hex}`,
        `sha256:${hex.toUpperCase()}`,
        `sha256:../../${hex}`,
        `../sha256:${hex}`,
      ]) {
        for (const operation of operations(digest)) await failsWith('InvalidArgument', operation)
      }
      await failsWith('NotFound', () => store.status(ctx, 'missing'))
      await failsWith('NotFound', () => store.abort(ctx, 'missing'))
      await failsWith('InvalidArgument', () => store.writer(ctx, { ref: '' }))
    })
  })
}

async function put(store: ContentStore, ctx: Context, bytes: Uint8Array, labels: Record<string, string> = {}) {
  const writer = await store.writer(ctx, { ref: `put ${digestOf(bytes)}` })
  await writer.write(bytes)
  return writer.commit(ctx, { labels })
}

async function readAll(store: ContentStore, ctx: Context, digest: string): Promise<Buffer> {
  const reader = await store.reader(ctx, digest)
  try {
    const bytes = Buffer.alloc(reader.sizeBytes)
    assert.equal(await reader.read(bytes, 0), bytes.length)
    return bytes
  } finally {
    await reader.close()
  }
}

function pick(writer: ContentWriter) {
  const { ref, offset, total } = writer.status()
  return { ref, offset, total, digest: writer.digest() }
}

function digestOf(bytes: Uint8Array, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}
