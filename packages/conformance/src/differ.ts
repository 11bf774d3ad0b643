import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  chmod,
  chown,
  link,
  lstat,
  lutimes,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { CompareOptions, ContentStore, Context, Descriptor, Differ, Mount } from '@containerd-ts/interface'
import { describeTree } from './describe-tree.js'
import { failsWith } from './expect.js'
import { listTar, type TarEntry, tar } from './tar-fixture.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** A differ for one test, with the store that its layers are in. */
export interface DifferUnderTest {
  readonly differ: Differ
  readonly content: ContentStore
  /** For every operation of the test. */
  readonly ctx: Context
  /** Makes an empty directory whose parent is the test's own, too. */
  directory(): Promise<string>
  close(): Promise<void>
}

/** What the differ under test is asked beyond what every one must do. */
export interface DifferSuiteOptions {
  /** What shows a directory, readable and writable. Default: a bind mount. */
  mountsOf?: (directory: string) => readonly Mount[]
}

const layerType = 'application/vnd.oci.image.layer.v1.tar'
const gzipType = `${layerType}+gzip`
const dockerType = 'application/vnd.docker.image.rootfs.diff.tar.gzip'
const uncompressedLabel = 'containerd.io/uncompressed'

/** What every {@link Differ} of layers must do, one differ for each test. Needs root. */
export function differSuite(
  { describe, it }: TestApi,
  open: () => Promise<DifferUnderTest>,
  { mountsOf = bindOf }: DifferSuiteOptions = {},
): void {
  const test = (name: string, run: (under: Subject) => Promise<void>) =>
    it(name, async () => {
      const under = await open()
      try {
        await run(subjectOf(under, mountsOf))
      } finally {
        await under.close()
      }
    })

  describe('differ: apply', () => {
    test('unpacks what is compressed in any way, told by its content, and tells the digest of what is in it', async (subject) => {
      const archive = Buffer.concat([tar({ name: 'file', data: 'content' }), Buffer.from('bytes after the end of the archive')])
      for (const [mediaType, bytes] of [
        [layerType, archive],
        [gzipType, gzipSync(archive)],
        [gzipType, archive],
        [dockerType, gzipSync(archive)],
        [dockerType, archive],
        ['application/vnd.docker.image.rootfs.diff.tar', gzipSync(archive)],
        ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', gzipSync(archive)],
        ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', gzipSync(archive)],
      ] as const) {
        const { root, applied } = await subject.apply(bytes, mediaType)
        assert.deepEqual(applied, { mediaType: layerType, digest: digestOf(archive), sizeBytes: archive.length, annotations: {} })
        assert.equal(await readFile(join(root, 'file'), 'utf8'), 'content', mediaType)
      }
    })

    test('gives entries their kinds, owners, modes and times', async (subject) => {
      const { root } = await subject.apply(
        tar(
          { name: 'd/', type: '5', mode: 0o2751, uid: 5, gid: 6, seconds: 1000 },
          { name: 'd/program', data: 'x', mode: 0o4755, uid: 100_000, gid: 7 },
          { name: 'd/link', type: '2', link: '../elsewhere' },
          { name: 'd/same', type: '1', link: 'd/program', mode: 0o4755, uid: 100_000, gid: 7 },
          { name: 'fifo', type: '6', mode: 0o600 },
          { name: 'exact', pax: { mtime: '1600000000.123456789', uid: '3000000000', path: `deep/${'n'.repeat(150)}` } },
        ),
      )
      const at = (name: string) => lstat(join(root, name))
      assert.deepEqual(pick(await at('d')), [0o042751, 5, 6, 1000])
      assert.deepEqual(pick(await at('d/program')), [0o104755, 100_000, 7, 1_600_000_000])
      assert.equal((await at('d/same')).ino, (await at('d/program')).ino)
      assert.equal(await readlink(join(root, 'd/link')), '../elsewhere')
      assert.ok((await at('fifo')).isFIFO())
      const exact = await lstat(join(root, `deep/${'n'.repeat(150)}`), { bigint: true })
      assert.deepEqual([exact.mtimeNs, exact.uid], [1_600_000_000_123_456_789n, 3_000_000_000n])
      // The root itself is nobody's to change.
      const own = await subject.apply(tar({ name: './', type: '5', mode: 0o700, uid: 9 }, { name: './a' }))
      assert.notEqual((await stat(own.root)).uid, 9)
    })

    test('lets a later entry take the place of an earlier one, of whatever kind', async (subject) => {
      const { root } = await subject.apply(
        tar(
          { name: 'a/', type: '5' },
          { name: 'a/inner', data: '1' },
          { name: 'a', data: 'file' },
          { name: 'b', data: 'file' },
          { name: 'b/', type: '5' },
          { name: 'b/inner', data: '2' },
          { name: 'c', type: '2', link: 'b' },
          { name: 'c', data: 'no link' },
          { name: 'd/', type: '5' },
          { name: 'd/kept', data: '3' },
          { name: 'd/', type: '5', mode: 0o700 },
        ),
      )
      assert.equal(await readFile(join(root, 'a'), 'utf8'), 'file')
      assert.equal(await readFile(join(root, 'b/inner'), 'utf8'), '2')
      assert.equal(await readFile(join(root, 'c'), 'utf8'), 'no link')
      assert.equal(await readFile(join(root, 'd/kept'), 'utf8'), '3')
      assert.equal((await stat(join(root, 'd'))).mode & 0o777, 0o700)
    })

    test('removes what whiteouts and opaque markers name', async (subject) => {
      const root = await subject.under.directory()
      for (const name of ['gone', 'opaque/old', 'opaque/sub/old', 'kept/old']) {
        await mkdir(dirname(join(root, name)), { recursive: true })
        await writeFile(join(root, name), '')
      }
      const entries: TarEntry[] = [
        { name: '.wh.gone' },
        { name: '.wh.never-there' },
        { name: 'opaque/before', data: '' },
        { name: 'opaque/.wh..wh..opq' },
        { name: 'opaque/after', data: '' },
        { name: 'kept/.wh.old' },
        { name: 'kept/.wh.old' },
      ]
      await subject.applyTo(root, tar(...entries))
      assert.deepEqual((await readdir(root, { recursive: true })).sort(), ['kept', 'opaque', 'opaque/after', 'opaque/before'])
      for (const name of ['.wh.', '.wh..', 'kept/.wh...']) await assert.rejects(subject.apply(tar({ name })), /whiteout/)
    })

    test('touches nothing outside, whatever the names and links are', async (subject) => {
      const outside = await subject.under.directory()
      await writeFile(join(outside, 'victim'), 'untouched')
      const before = await describeTree(outside)
      const hostile: TarEntry[][] = [
        [{ name: `../${outside.split('/').at(-1)}/victim`, data: 'x' }],
        [{ name: `${outside}/victim`, data: 'x' }],
        [
          { name: 'out', type: '2', link: outside },
          { name: 'out/victim', data: 'x' },
          { name: 'out/new', data: 'x' },
          { name: 'out/.wh.victim' },
          { name: 'out/.wh..wh..opq' },
        ],
        [
          { name: 'up', type: '2', link: '../../../../../../../../..' },
          { name: `up${outside}/victim`, data: 'x' },
        ],
      ]
      for (const entries of hostile) await subject.apply(tar(...entries)).catch(() => {})
      for (const target of [`${outside}/victim`, `../${outside.split('/').at(-1)}/victim`])
        await assert.rejects(subject.apply(tar({ name: 'stolen', type: '1', link: target })))
      assert.deepEqual(await describeTree(outside), before)
    })

    test('refuses what is no layer, is not there or is not whole', async (subject) => {
      const good = gzipSync(tar({ name: 'file', data: 'content' }))
      await assert.rejects(subject.apply(good, 'text/plain'), /no processor for media-type|not implemented/)
      const root = await subject.under.directory()
      const missing = { mediaType: gzipType, digest: digestOf(Buffer.from('nothing')), sizeBytes: 7, annotations: {} }
      await failsWith('NotFound', () => subject.under.differ.apply(subject.under.ctx, missing, mountsOf(root)))
      await assert.rejects(subject.apply(good.subarray(0, good.length - 15)))
      await assert.rejects(subject.apply(tar({ name: 'file', data: 'x'.repeat(5000) }).subarray(0, 2000), layerType))
      await assert.rejects(subject.apply(Buffer.alloc(4096, 'no archive at all'), layerType))
      await assert.rejects(subject.apply(tar({ name: 'x', type: 'Y' }), layerType), /unhandled tar header type/)
      await assert.rejects(subject.apply(tar({ name: 'f' }, { name: 'f/below' })))
    })

    test('stops when the call is cancelled', async (subject) => {
      const descriptor = await subject.blob(tar({ name: 'file', data: 'x'.repeat(100_000) }), layerType)
      const root = await subject.under.directory()
      const controller = new AbortController()
      controller.abort(new Error('enough'))
      const ctx = { ...subject.under.ctx, signal: controller.signal }
      await assert.rejects(subject.under.differ.apply(ctx, descriptor, mountsOf(root)))
      assert.deepEqual(await readdir(root), [])
      await subject.under.differ.apply(subject.under.ctx, descriptor, mountsOf(root))
      assert.deepEqual(await readdir(root), ['file'])
    })
  })

  describe('differ: compare', () => {
    test('makes a compressed blob, the same every time, with the digest of what is in it', async (subject) => {
      const { lower, upper } = await subject.pair((root) => writeFile(join(root, 'new'), 'new'))
      const { descriptor, archive } = await subject.compare(lower, upper, { labels: { mine: 'yes' } })
      assert.equal(descriptor.mediaType, gzipType)
      assert.deepEqual(listTar(archive), ['new'])
      const { content, ctx } = subject.under
      const info = await content.info(ctx, descriptor.digest)
      assert.equal(info.sizeBytes, descriptor.sizeBytes)
      assert.deepEqual([info.labels['mine'], info.labels[uncompressedLabel]], ['yes', digestOf(archive)])
      // A second time the blob is there already, and only the label that somebody took comes back.
      await content.update(ctx, { digest: descriptor.digest, labels: {} }, [`labels.${uncompressedLabel}`])
      assert.deepEqual((await subject.compare(lower, upper)).descriptor, descriptor)
      assert.equal((await content.info(ctx, descriptor.digest)).labels[uncompressedLabel], digestOf(archive))
      const plain = await subject.compare(lower, upper, { mediaType: layerType })
      assert.deepEqual(
        [plain.descriptor.mediaType, plain.descriptor.digest, plain.descriptor.sizeBytes],
        [layerType, digestOf(archive), archive.length],
      )
      assert.equal((await content.info(ctx, plain.descriptor.digest)).labels[uncompressedLabel], undefined)
      assert.deepEqual(await content.listStatuses(ctx, []), [])
    })

    test('finds nothing between equal trees', async (subject) => {
      const { lower, upper } = await subject.pair(async () => {})
      const { archive } = await subject.compare(lower, upper, { mediaType: layerType })
      assert.deepEqual(archive, Buffer.alloc(1024))
    })

    test('finds what was added, changed and removed, in order, with the directories above', async (subject) => {
      const changes: [string, (root: string) => Promise<unknown>, string[]][] = [
        ['removed', (root) => rm(join(root, 'd/f')), ['d/', 'd/.wh.f']],
        ['directory removed', (root) => rm(join(root, 'd'), { recursive: true }), ['.wh.d']],
        ['renamed', (root) => rename(join(root, 'd/f'), join(root, 'd/g')), ['d/', 'd/.wh.f', 'd/g']],
        ['mode', (root) => chmod(join(root, 'd/f'), 0o600), ['d/', 'd/f']],
        ['mode of a directory', (root) => chmod(join(root, 'e'), 0o700), ['e/']],
        ['owner', (root) => chown(join(root, 'd/f'), 8, 9), ['d/', 'd/f']],
        ['time of a file', (root) => utimes(join(root, 'd/f'), 1, 1), ['d/', 'd/f']],
        ['time of a directory', (root) => utimes(join(root, 'e'), 1, 1), []],
        ['new link of an old file', (root) => link(join(root, 'top'), join(root, 'also')), ['also', 'top = also']],
        [
          'file for a directory',
          async (root) => {
            await rm(join(root, 'e'), { recursive: true })
            await writeFile(join(root, 'e'), 'file')
          },
          ['e'],
        ],
        [
          'directory for a file',
          async (root) => {
            await rm(join(root, 'top'))
            await mkdir(join(root, 'top'))
            await symlink('x', join(root, 'top/l'))
          },
          ['top/', 'top/l -> x'],
        ],
        [
          'names with the slash before everything else',
          async (root) => {
            for (const name of ['a', 'a.d']) await mkdir(join(root, name))
            for (const name of ['a/b', 'a-b', 'a.d/c', 'ab']) await writeFile(join(root, name), '')
          },
          ['a/', 'a/b', 'a-b', 'a.d/', 'a.d/c', 'ab'],
        ],
      ]
      for (const [what, change, expected] of changes) {
        const { lower, upper } = await subject.pair(change)
        const { archive } = await subject.compare(lower, upper)
        assert.deepEqual(listTar(archive), expected, what)
      }
    })

    test('makes layers that make one tree of the other', async (subject) => {
      const { lower, upper } = await subject.pair(async (root) => {
        await rm(join(root, 'd/f'))
        await rm(join(root, 'e'), { recursive: true })
        await mkdir(join(root, 'new/deep'), { recursive: true })
        await writeFile(join(root, 'new/deep/file'), 'x'.repeat(200_000), { mode: 0o4711 })
        await link(join(root, 'new/deep/file'), join(root, 'new/same'))
        await symlink('nowhere', join(root, 'new/link'))
        await lutimes(join(root, 'new/link'), 500, 500)
        await chown(join(root, 'top'), 70_000, 1)
        await chmod(join(root, 'top'), 0o2640)
      })
      const { descriptor } = await subject.compare(lower, upper)
      await subject.under.differ.apply(subject.under.ctx, descriptor, mountsOf(lower))
      assert.deepEqual(await describeTree(lower), await describeTree(upper))
      const whole = await subject.under.differ.compare(subject.under.ctx, [], mountsOf(upper))
      const copy = await subject.under.directory()
      await subject.under.differ.apply(subject.under.ctx, whole, mountsOf(copy))
      assert.deepEqual(await describeTree(copy), await describeTree(upper))
    })

    test('takes no time later than it is told, and no time at all for what was removed', async (subject) => {
      const { lower, upper } = await subject.pair(async (root) => {
        await rm(join(root, 'd/f'))
        await writeFile(join(root, 'new'), '')
        await writeFile(join(root, 'old'), '')
        await utimes(join(root, 'old'), 400, 400)
      })
      const { archive } = await subject.compare(lower, upper, { sourceDateEpoch: { seconds: 500, nanos: 0 } })
      const names = listTar(archive)
      const times = names.map((_, index) => Number.parseInt(archive.toString('latin1', index * 512 + 136, index * 512 + 147), 8))
      assert.deepEqual(Object.fromEntries(names.map((name, index) => [name, times[index]])), {
        'd/': 500,
        'd/.wh.f': 0,
        new: 500,
        old: 400,
      })
    })

    test('starts an ingest of the given name again, and leaves none of its own', async (subject) => {
      const { content, ctx, differ } = subject.under
      const { lower, upper } = await subject.pair((root) => writeFile(join(root, 'new'), 'new'))
      const rest = await content.writer(ctx, { ref: 'mine' })
      await rest.write(Buffer.from('left by an earlier attempt'))
      await rest.close()
      const { descriptor } = await subject.compare(lower, upper, { ref: 'mine' })
      assert.deepEqual((await subject.compare(lower, upper)).descriptor, descriptor)
      for (const mediaType of ['text/plain', dockerType])
        await failsWith('Unimplemented', () => differ.compare(ctx, mountsOf(lower), mountsOf(upper), { mediaType }))
      await assert.rejects(differ.compare(ctx, mountsOf(lower), mountsOf(join(upper, 'missing'))))
      const controller = new AbortController()
      controller.abort(new Error('enough'))
      await assert.rejects(differ.compare({ ...ctx, signal: controller.signal }, mountsOf(lower), mountsOf(upper)))
      assert.deepEqual(await content.listStatuses(ctx, []), [])
    })
  })
}

function bindOf(directory: string): Mount[] {
  return [{ type: 'bind', source: directory, target: '', options: ['rbind', 'rw'] }]
}

interface Subject {
  under: DifferUnderTest
  blob(bytes: Buffer, mediaType: string): Promise<Descriptor>
  /** Unpacks into a new directory. */
  apply(bytes: Buffer, mediaType?: string): Promise<{ root: string; applied: Descriptor }>
  applyTo(root: string, bytes: Buffer): Promise<void>
  /** Two equal trees, of which the second is changed. */
  pair(change: (root: string) => Promise<unknown>): Promise<{ lower: string; upper: string }>
  /** The layer between two directories, and what is in it. */
  compare(lower: string, upper: string, options?: CompareOptions): Promise<{ descriptor: Descriptor; archive: Buffer }>
}

function subjectOf(under: DifferUnderTest, mountsOf: (directory: string) => readonly Mount[]): Subject {
  const { differ, content, ctx } = under
  const blob = async (bytes: Buffer, mediaType: string): Promise<Descriptor> => {
    const digest = digestOf(bytes)
    const descriptor = { mediaType, digest, sizeBytes: bytes.length, annotations: {} }
    const there = await content.info(ctx, digest).catch(() => undefined)
    if (there !== undefined) return descriptor
    const writer = await content.writer(ctx, { ref: digest })
    await writer.write(bytes)
    await writer.commit(ctx, { expected: digest })
    await writer.close()
    return descriptor
  }
  return {
    under,
    blob,
    async apply(bytes, mediaType = layerType) {
      const root = await under.directory()
      return { root, applied: await differ.apply(ctx, await blob(bytes, mediaType), mountsOf(root)) }
    },
    async applyTo(root, bytes) {
      await differ.apply(ctx, await blob(bytes, layerType), mountsOf(root))
    },
    async pair(change) {
      const [lower, upper] = [await under.directory(), await under.directory()]
      for (const root of [lower, upper]) await plant(root)
      await change(upper)
      return { lower, upper }
    },
    async compare(lower, upper, options = {}) {
      const descriptor = await differ.compare(ctx, mountsOf(lower), mountsOf(upper), options)
      const reader = await content.reader(ctx, descriptor.digest)
      const bytes = Buffer.alloc(reader.sizeBytes)
      await reader.read(bytes, 0)
      await reader.close()
      return { descriptor, archive: descriptor.mediaType === gzipType ? gunzipSync(bytes) : bytes }
    },
  }
}

/** The tree that the comparisons begin with, its times to the nanosecond so that equal ones are equal. */
async function plant(root: string): Promise<void> {
  for (const name of ['d', 'e']) await mkdir(join(root, name))
  for (const name of ['d/f', 'e/inner', 'top']) {
    await writeFile(join(root, name), name)
    await utimes(join(root, name), 1_000_000, 1_000_000)
  }
  await symlink('top', join(root, 'd/l'))
  await lutimes(join(root, 'd/l'), 1_000_000, 1_000_000)
}

function pick({ mode, uid, gid, mtimeMs }: { mode: number; uid: number; gid: number; mtimeMs: number }): number[] {
  return [mode, uid, gid, Math.floor(mtimeMs / 1000)]
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
