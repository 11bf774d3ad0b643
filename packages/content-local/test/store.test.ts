import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background, isNotFound } from '@containerd-ts/interface'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createContentStore, type LocalContentStore } from '../src/store.js'

const ctx = background()
const digestOf = (data: Uint8Array) => `sha256:${createHash('sha256').update(data).digest('hex')}`
const failure = (operation: Promise<unknown>) => operation.then(() => undefined).catch((error: unknown) => error as Error)

let root = ''
let store: LocalContentStore

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'content-'))
  store = await createContentStore({ root })
})

afterEach(async () => {
  await store.close()
  await rm(root, { recursive: true })
})

async function restart(): Promise<void> {
  await store.close()
  store = await createContentStore({ root })
}

async function put(data: Uint8Array, labels: Record<string, string> = {}) {
  const writer = await store.writer(ctx, { ref: digestOf(data) })
  await writer.write(data)
  return writer.commit(ctx, { labels })
}

describe('after a restart', () => {
  it('unfinished writes go on with all that was known of them', async () => {
    const refs = ['n/1/layer-sha256:abc', 'ü', '../../etc', 'x'.repeat(160), 'y'.repeat(161), `long ${'z/'.repeat(3000)}`]
    const before = new Map<string, unknown>()
    for (const [index, ref] of refs.entries()) {
      const writer = await store.writer(ctx, { ref, total: index })
      await writer.write(Buffer.from(ref))
      before.set(ref, { status: writer.status(), digest: writer.digest() })
      await writer.close()
    }
    await restart()
    expect((await store.listStatuses(ctx, [])).map(({ ref }) => ref).sort()).toEqual([...refs].sort())
    for (const [index, ref] of refs.entries()) {
      const writer = await store.writer(ctx, { ref, total: index })
      expect({ status: writer.status(), digest: writer.digest() }).toEqual(before.get(ref))
      expect((await writer.commit(ctx, {})).digest).toBe(digestOf(Buffer.from(ref)))
    }
    await restart()
    expect(await readdir(join(root, 'ingest'))).toEqual([])
    expect(await readdir(root)).toEqual(['blobs', 'ingest', 'labels'])
  })

  it('blobs and labels are what they were', async () => {
    const labelled = await put(randomBytes(10), { a: 'b' })
    const plain = await put(randomBytes(10))
    const updated = await store.update(ctx, { digest: plain.digest, labels: { c: 'd' } }, [])
    await restart()
    expect(await store.info(ctx, labelled.digest)).toEqual(labelled)
    expect(await store.info(ctx, plain.digest)).toEqual(updated)
  })

  it('nothing is left of what crashes have left', async () => {
    const ingest = join(root, 'ingest')
    await writeFile(join(ingest, 'rbm90IGJhc2U2NA.x.y'), 'no ingest')
    await writeFile(join(ingest, `h${'0'.repeat(64)}.5.6`), 'a long ref that is not known')
    await writeFile(join(ingest, `h${'1'.repeat(64)}.ref`), 'not the ref of this hash')
    await writeFile(join(ingest, `h${'1'.repeat(64)}.5.6`), 'bytes')
    await mkdir(join(ingest, 'abc'))
    await writeFile(join(ingest, 'abc/data'), 'as containerd has it')
    await restart()
    expect(await readdir(ingest)).toEqual([])
    expect(await store.listStatuses(ctx, [])).toEqual([])
  })
})

it('makes blobs read-only, under the names that containerd gives them, stamped with their commit', async () => {
  const bytes = randomBytes(10)
  const { digest, createdAt } = await put(bytes)
  const { mode, mtimeMs } = await stat(join(root, 'blobs/sha256', digest.slice('sha256:'.length)))
  expect(mode & 0o777).toBe(0o444)
  expect(Math.floor(mtimeMs)).toBe(createdAt.seconds * 1000 + Math.floor(createdAt.nanos / 1e6))
})

it('gives a blob that comes again no labels of the one before', async () => {
  const bytes = randomBytes(10)
  await put(bytes, { old: 'yes' })
  await store.delete(ctx, digestOf(bytes))
  expect((await put(bytes)).labels).toEqual({})
  expect((await store.info(ctx, digestOf(bytes))).labels).toEqual({})
  // Labels of a crash between them and the blob.
  await store.delete(ctx, digestOf(bytes))
  const stray = { labels: { stray: 'yes' }, updatedAt: { seconds: 1, nanos: 2 } }
  await writeFile(join(root, 'labels', digestOf(bytes).replace(':', '/')), JSON.stringify(stray))
  await restart()
  expect(isNotFound(await failure(store.info(ctx, digestOf(bytes))))).toBe(true)
  expect((await put(bytes)).labels).toEqual({})
})

it('takes a blob again that somebody has deleted behind its back', async () => {
  const bytes = randomBytes(10)
  const { digest } = await put(bytes)
  await rm(join(root, 'blobs', digest.replace(':', '/')))
  expect(isNotFound(await failure(store.reader(ctx, digest)))).toBe(true)
  await (await store.writer(ctx, { ref: 'r', expected: digest })).close()
  expect((await put(bytes)).digest).toBe(digest)
})

it('tells when an ingest was last written to, also when its writer was killed', async () => {
  const writer = await store.writer(ctx, { ref: 'r' })
  await writer.write(Buffer.from('abc'))
  const [name = ''] = await readdir(join(root, 'ingest'))
  const path = join(root, 'ingest', name)
  await chmod(path, 0o644)
  await utimes(path, 2_000_000_000, 2_000_000_000)
  const other = await createContentStore({ root })
  expect(await other.status(ctx, 'r')).toMatchObject({ offset: 3, updatedAt: { seconds: 2_000_000_000, nanos: 0 } })
  await other.close()
  await writer.close()
})

it('lets many small writes go on together and keeps them all', async () => {
  const blobs = Array.from({ length: 100 }, () => randomBytes(4096))
  const infos = await Promise.all(blobs.map((blob) => put(blob, { of: 'many' })))
  await restart()
  for (const [index, { digest }] of infos.entries()) {
    const reader = await store.reader(ctx, digest)
    const target = Buffer.alloc(4096)
    await reader.read(target, 0)
    await reader.close()
    expect(target.equals(blobs[index] ?? Buffer.alloc(0))).toBe(true)
  }
})

it('lets others have their turn while it takes a large message', async () => {
  const writer = await store.writer(ctx, { ref: 'large' })
  let turns = 0
  let done = false
  const turn = () => {
    turns++
    if (!done) setImmediate(turn)
  }
  turn()
  await writer.write(Buffer.alloc(32 << 20))
  done = true
  await writer.commit(ctx, {})
  // One for each mebibyte.
  expect(turns).toBeGreaterThanOrEqual(32)
})

it('keeps few files open, none of a deleted blob, and none at all after closing', async () => {
  const openFiles = async () => {
    const links = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
    return links.filter((path) => path.startsWith(join(root, 'blobs')) && !path.endsWith('/sha256'))
  }
  const blobs = await Promise.all(Array.from({ length: 50 }, () => put(randomBytes(100))))
  for (const { digest } of blobs) {
    const readers = await Promise.all([store.reader(ctx, digest), store.reader(ctx, digest)])
    for (const reader of readers) {
      expect(await reader.read(Buffer.alloc(100), 0)).toBe(100)
      await reader.close()
    }
  }
  expect((await openFiles()).length).toBeLessThanOrEqual(32)
  const [used, ...rest] = blobs
  if (used === undefined) throw new Error('no blob')
  const reader = await store.reader(ctx, used.digest)
  for (const { digest } of [used, ...rest]) await store.delete(ctx, digest)
  // The one in use stays readable.
  expect(await openFiles()).toHaveLength(1)
  expect(await reader.read(Buffer.alloc(100), 0)).toBe(100)
  await reader.close()
  expect(await openFiles()).toEqual([])

  const { digest } = await put(randomBytes(100))
  await (await store.reader(ctx, digest)).close()
  await store.close()
  expect(await openFiles()).toEqual([])
})

it('a ref is locked while it has a writer, and free for the next one from the moment on at which that is told to close', async () => {
  const bytes = randomBytes(5_000_000)
  const writer = await store.writer(ctx, { ref: 'r' })
  await writer.write(bytes)
  expect(await failure(store.writer(ctx, { ref: 'r' }))).toMatchObject({ code: 'Unavailable' })
  const closing = writer.close()
  const next = await store.writer(ctx, { ref: 'r' })
  await closing
  expect(next.status().offset).toBe(bytes.length)
  const committing = next.commit(ctx, { expected: `sha256:${'0'.repeat(64)}` })
  expect(await failure(store.writer(ctx, { ref: 'r' }))).toMatchObject({ code: 'Unavailable' })
  expect(await failure(committing)).toMatchObject({ code: 'FailedPrecondition' })
  await (await store.writer(ctx, { ref: 'r' })).close()
})
