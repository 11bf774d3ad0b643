import { execFileSync } from 'node:child_process'
import { link, mkdir, readFile, symlink, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { gunzipSync, gzipSync } from 'node:zlib'
import { zstdCompressor } from '@containerd-ts/archive'
import { parseIndex, parseManifest, readBlob } from '@containerd-ts/images'
import type { ContentStore } from '@containerd-ts/interface'
import { expect, test } from 'vitest'
import { importArchive } from '../src/index.js'
import {
  cancellableContext,
  collect,
  contentsOf,
  ctx,
  digestOf,
  headerOf,
  openStore,
  put,
  scratch,
  streamOf,
  tarOf,
  types,
} from './fixtures.js'

const layers = { a: tarOf({ a: 'layer a' }), b: tarOf({ b: 'layer b' }) }
const config = JSON.stringify({
  architecture: 'amd64',
  os: 'linux',
  rootfs: { type: 'layers', diff_ids: [digestOf(layers.a), digestOf(layers.b)] },
})
const dockerLayer = 'application/vnd.docker.image.rootfs.diff.tar'

function manifestJson(...images: object[]): string {
  return JSON.stringify(images)
}

/** As new docker writes it, and all others that are OCI image layouts: blobs by their digests. */
function layoutOf(files: Record<string, Uint8Array | string> = {}) {
  const blob = (bytes: Uint8Array | string): [string, Uint8Array | string] => [digestOf(bytes).replace(':', '/'), bytes]
  const layer = { mediaType: types.layer, digest: digestOf(layers.a), size: layers.a.length }
  const manifest = JSON.stringify({
    schemaVersion: 2,
    config: { mediaType: types.config, digest: digestOf(config), size: config.length },
    layers: [layer],
  })
  const index = JSON.stringify({
    schemaVersion: 2,
    manifests: [{ mediaType: types.manifest, digest: digestOf(manifest), size: manifest.length }],
  })
  const blobs = [layers.a, config, manifest].map(blob).map(([path, bytes]) => [`blobs/${path}`, bytes])
  return {
    index,
    manifest,
    bytes: tarOf({ ...Object.fromEntries(blobs), 'index.json': index, 'oci-layout': '{"imageLayoutVersion":"1.0.0"}', ...files }),
  }
}

async function imagesOf(store: ContentStore, digest: string) {
  const manifests = parseIndex(await readBlob(ctx, store, digest, 1 << 20), 'index')
  return Promise.all(
    manifests.map(async (manifest) => ({
      ...manifest,
      ...parseManifest(await readBlob(ctx, store, manifest.digest, 1 << 20), 'manifest'),
    })),
  )
}

test('an archive of old docker, by GNU tar: links are followed, layers are typed by content, images share them', async () => {
  const dir = await scratch()
  // Only its beginning is looked at.
  const zstd = Buffer.from('28b52ffd'.padEnd(64, '0'), 'hex')
  const files: Record<string, Uint8Array | string> = {
    'one/layer.tar': layers.a,
    'one/VERSION': '1.0',
    'two/layer.tar': gzipSync(layers.b),
    'five/layer.tar': zstd,
    'config.json': config,
    repositories: '{}',
    'manifest.json': manifestJson(
      { Config: 'config.json', RepoTags: ['a', 'example.com/b:1'], Layers: ['four/layer.tar', 'two/layer.tar'] },
      { Config: 'config.json', RepoTags: null, Layers: ['hard/layer.tar', 'five/layer.tar'] },
    ),
  }
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), bytes)
  }
  for (const name of ['three', 'four', 'hard']) await mkdir(join(dir, name))
  await symlink('../one/layer.tar', join(dir, 'three/layer.tar'))
  await symlink('../three/layer.tar', join(dir, 'four/layer.tar'))
  await link(join(dir, 'one/layer.tar'), join(dir, 'hard/layer.tar'))
  const archive = execFileSync('tar', ['-C', dir, '-cf', '-', '--sort=name', '.'])

  const store = await openStore()
  const index = await importArchive(ctx, store, streamOf(archive))
  const images = await imagesOf(store, index.digest)
  const a = [`${dockerLayer}`, digestOf(layers.a)]
  expect(images.map(({ layers: list }) => list.map(({ mediaType, digest }) => [mediaType, digest]))).toEqual([
    [a, [`${dockerLayer}.gzip`, digestOf(gzipSync(layers.b))]],
    [a, [`${dockerLayer}.gzip`, digestOf(gzipSync(layers.b))]],
    [a, [`${dockerLayer}.zstd`, digestOf(zstd)]],
  ])
  expect(images.map(({ annotations }) => annotations)).toEqual([
    { 'io.containerd.image.name': 'docker.io/library/a:latest', 'org.opencontainers.image.ref.name': 'latest' },
    { 'io.containerd.image.name': 'example.com/b:1', 'org.opencontainers.image.ref.name': '1' },
    {},
  ])
  expect(images[0]?.platform).toMatchObject({ os: 'linux', architecture: 'amd64' })
  const contents = await contentsOf(store)
  const [first, , third] = images
  expect(contents[index.digest]).toEqual({
    'containerd.io/gc.ref.content.m.0': first?.digest,
    'containerd.io/gc.ref.content.m.1': first?.digest,
    'containerd.io/gc.ref.content.m.2': third?.digest,
  })
  expect(contents[first?.digest ?? '']).toEqual({
    'containerd.io/gc.ref.content.config': digestOf(config),
    'containerd.io/gc.ref.content.l.0': digestOf(layers.a),
    'containerd.io/gc.ref.content.l.1': digestOf(gzipSync(layers.b)),
  })
  expect(await store.listStatuses(ctx, [])).toEqual([])
})

test('layers are compressed when asked, and those of which a compressed form is there are that', async () => {
  const compressed = gzipSync(layers.b, { level: 1 })
  const archive = tarOf({
    a: layers.a,
    b: layers.b,
    c: config,
    'manifest.json': manifestJson({ Config: 'c', Layers: ['a', 'b'] }),
  })
  const store = await openStore()
  await put(store, compressed, '', { 'containerd.io/uncompressed': digestOf(layers.b) })
  const plain = await importArchive(ctx, store, streamOf(archive))
  const made = await importArchive(ctx, store, streamOf(archive), { forceCompress: true })
  const [[image], [other]] = [await imagesOf(store, plain.digest), await imagesOf(store, made.digest)]
  expect(image?.layers.map(({ mediaType }) => mediaType)).toEqual([dockerLayer, `${dockerLayer}.gzip`])
  expect(image?.layers[1]).toMatchObject({ digest: digestOf(compressed), sizeBytes: compressed.length })
  const [a, b] = other?.layers ?? []
  expect(b).toEqual(image?.layers[1])
  expect(a?.mediaType).toBe(`${dockerLayer}.gzip`)
  expect((await store.info(ctx, a?.digest ?? '')).labels).toEqual({ 'containerd.io/uncompressed': digestOf(layers.a) })
  expect(gunzipSync(await readBlob(ctx, store, a?.digest ?? '', 1 << 20))).toEqual(layers.a)
})

test('a layout is stored as it is, whatever manifest.json says, and twice is as well', async () => {
  const store = await openStore()
  const { bytes, index, manifest } = layoutOf({ 'manifest.json': '"no list"' })
  for (let round = 0; round < 2; round++) {
    const imported = await importArchive(ctx, store, streamOf(bytes, 333))
    expect(imported).toEqual({ mediaType: types.index, digest: digestOf(index), sizeBytes: index.length, annotations: {} })
    const labels = { [digestOf(index)]: { 'containerd.io/gc.ref.content.m.0': digestOf(manifest) } }
    const blobs = [layers.a, config, manifest].map((blob) => [digestOf(blob), {}])
    expect(await contentsOf(store)).toEqual({ ...Object.fromEntries(blobs), ...labels })
  }
})

const { bytes: layout, index: layoutIndex } = layoutOf({
  'blobs/x': Buffer.alloc(400_000, 'zeros and more').fill(0, 1000, 300_000),
})
const compressor = zstdCompressor()
const hasZstd = compressor !== undefined

async function zstd(bytes: Uint8Array): Promise<Buffer> {
  return compressor === undefined ? Buffer.alloc(0) : collect(Readable.from([bytes]).pipe(compressor()))
}

// An empty layout as the program of zstd writes it, with a checksum.
const smallZstd = Buffer.from(
  'KLUv/QRojQQA0oYXGYDNAyAwaCraQygWtiQgzgFdkHmDZUFzRwoJUrS9NjKSwtmAgzM6ihWae/Ttw6S4UMlVO3PWumj60tZ4GLGBUzbF97/yWhVeG7Evfm5ozdmZENyd3yOcb/QThAKpfBEgAG3SYg/5z3oA/ACq5Z9Wyqh4M8YDJEW8XQUDhHgq3XGw2h8weYALBA4KYDbdOf1onVQ=',
  'base64',
)

async function importInPieces(bytes: Uint8Array, digest: string): Promise<void> {
  for (const pieceBytes of [1, 4000, 1 << 20]) {
    const store = await openStore()
    expect((await importArchive(ctx, store, streamOf(bytes, pieceBytes))).digest).toBe(digest)
  }
}

test('gzip, of several members too', async () => {
  await importInPieces(gzipSync(layout), digestOf(layoutIndex))
  const members = [layout.subarray(0, 5000), layout.subarray(5000)].map((part) => gzipSync(part))
  await importInPieces(Buffer.concat(members), digestOf(layoutIndex))
})

test('zstd with a checksum', async () => {
  await importInPieces(smallZstd, digestOf('{"schemaVersion":2,"manifests":[]}'))
})

test.runIf(hasZstd)('zstd, of several frames too, and such as are to be skipped', async () => {
  await importInPieces(await zstd(layout), digestOf(layoutIndex))
  const skipped = Buffer.from('502a4d1803000000010203', 'hex')
  const frames = [layout.subarray(0, 7000), layout.subarray(7000)].map(zstd)
  await importInPieces(Buffer.concat([skipped, ...(await Promise.all(frames)), skipped]), digestOf(layoutIndex))
})

test.each([
  // Without the end mark an archive is whole.
  ['tar', layout, layout.length - 1024],
  // Of the last bytes some are of that mark, and others a checksum of the whole.
  ['gzip', gzipSync(layout), gzipSync(layout).length - 50],
  ['zstd', smallZstd, smallZstd.length - 4],
])('a truncated %s is refused wherever it ends, and leaves no ingest', async (_, bytes, whole) => {
  const store = await openStore()
  for (let end = 0; end < whole; end += Math.max(1, Math.floor(whole / 60))) {
    const source = streamOf(bytes.subarray(0, end), 5000)
    const importing = importArchive(ctx, store, source)
    await expect(importing, `${end} bytes`).rejects.toMatchObject({ code: 'InvalidArgument' })
  }
  expect(await store.listStatuses(ctx, [])).toEqual([])
})

test('damaged compression, and a frame that wants gigabytes, are refused', async () => {
  const store = await openStore()
  for (const bytes of [gzipSync(layout), smallZstd]) {
    const damaged = Buffer.from(bytes)
    damaged.fill(0x55, 50, 100)
    await expect(importArchive(ctx, store, streamOf(damaged))).rejects.toMatchObject({ code: 'InvalidArgument' })
  }
  const greedy = Buffer.from('28b52ffd00a8'.padEnd(64, '0'), 'hex')
  await expect(importArchive(ctx, store, streamOf(greedy))).rejects.toMatchObject({ code: 'InvalidArgument' })
})

const image = { Config: 'c', Layers: ['l'] }
const docker = (manifest: unknown, files: object = {}) =>
  tarOf({ c: config, l: layers.a, 'manifest.json': JSON.stringify(manifest), ...files })

test.each<[string, Uint8Array, string]>([
  ['nothing', Buffer.alloc(0), 'unrecognized image format'],
  ['no tar', Buffer.alloc(2000, 'x'), 'invalid tar header'],
  ['an empty tar', tarOf({}), 'unrecognized image format'],
  ['a layout of the future', tarOf({ 'oci-layout': '{"imageLayoutVersion":"2.0.0"}' }), 'unsupported OCI version "2.0.0"'],
  ['a layout of no version', layoutOf({ 'oci-layout': 'null' }).bytes, 'unsupported OCI version'],
  [
    'a layout without index',
    tarOf({ 'oci-layout': '{"imageLayoutVersion":"1.0.0"}', 'manifest.json': '[]' }),
    'missing index.json',
  ],
  [
    'an index of nonsense',
    layoutOf({ 'index.json': '{"manifests":[{"digest":"../../etc","size":1}]}' }).bytes,
    'invalid checksum digest',
  ],
  [
    'another blob than its name says',
    layoutOf({ [`blobs/sha256/${'0'.repeat(64)}`]: 'x' }).bytes,
    `"blobs/sha256/${'0'.repeat(64)}"`,
  ],
  ['a large index.json', Buffer.concat([headerOf('./index.json', 9 << 20), Buffer.alloc(9 << 20)]), 'index.json'],
  ['an enormous manifest.json', headerOf('manifest.json', 2 ** 52), 'at most'],
  ['an object', docker({}), 'no list'],
  ['null in a list', docker([null]), 'image 0 is no object'],
  ['no config', docker([{}]), 'image 0 has no config'],
  ['numbers', docker([{ ...image, Layers: [1] }]), 'no text'],
  ['a prototype', docker([{ ...image, Config: '__proto__' }]), '"__proto__" not found'],
  ['an absent layer', docker([{ ...image, Layers: ['/etc/passwd'] }]), 'layer "/etc/passwd" not found'],
  ['a loop of links', docker([{ ...image, Layers: ['x'] }], { x: '->y', y: '->x' }), 'layer "x" not found'],
  ['a link out of it', docker([{ ...image, Layers: ['x'] }], { x: '->../../../etc/passwd' }), 'layer "x" not found'],
  ['no config in the config', docker([{ ...image, Config: 'l' }]), 'no JSON'],
  ['a bad tag', docker([{ ...image, RepoTags: ['A B'] }]), '"A B"'],
  ['very many layers', docker([{ ...image, Layers: new Array(70_000).fill('l') }]), 'more than'],
])('an archive with %s is refused', async (_, bytes, message) => {
  const store = await openStore()
  const source = streamOf(bytes, 100_000)
  await expect(importArchive(ctx, store, source)).rejects.toMatchObject({
    code: 'InvalidArgument',
    message: expect.stringContaining(message),
  })
  expect(source.closed).toBe(true)
  expect(await store.listStatuses(ctx, [])).toEqual([])
})

test('names that lead out of the archive are names and no more', async () => {
  const store = await openStore()
  const name = '../../../tmp/image-archive-escaped'
  const archive = docker([{ Config: '/c/../c', Layers: [name] }], { [name]: layers.b, '/c': config })
  const [imported] = await imagesOf(store, (await importArchive(ctx, store, streamOf(archive))).digest)
  expect(imported?.layers[0]?.digest).toBe(digestOf(layers.b))
  await expect(readFile('/tmp/image-archive-escaped')).rejects.toThrow('ENOENT')
})

test('a layer that GNU tar stored without its holes has them again', async () => {
  const dir = await scratch()
  const holes = join(dir, 'l')
  await writeFile(holes, 'head')
  await truncate(holes, 3_000_000)
  await writeFile(holes, 'tail', { flag: 'a' })
  await truncate(holes, 4_000_000)
  await writeFile(join(dir, 'c'), config)
  await writeFile(join(dir, 'manifest.json'), manifestJson(image))
  for (const format of ['gnu', 'posix']) {
    const archive = execFileSync('tar', ['-C', dir, '-cSf', '-', `--format=${format}`, 'l', 'c', 'manifest.json'])
    expect(archive.length).toBeLessThan(1_000_000)
    const store = await openStore()
    const [imported] = await imagesOf(store, (await importArchive(ctx, store, streamOf(archive))).digest)
    expect(imported?.layers[0]).toMatchObject({ digest: digestOf(await readFile(holes)), sizeBytes: 4_000_000 })
  }
})

test.each(['raw', 'gzip'])('whoever cancels need not wait for a source that gives nothing: %s', async (kind) => {
  const store = await openStore()
  const { cancelled, cancel } = cancellableContext()
  let returned = false
  const pieces = [kind === 'raw' ? layout.subarray(0, 1000) : gzipSync(layout).subarray(0, 500)]
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        const value = pieces.shift()
        return value === undefined ? new Promise<never>(() => {}) : { done: false, value }
      },
      return: async () => {
        returned = true
        return { done: true as const, value: undefined }
      },
    }),
  }
  const importing = importArchive(cancelled, store, source)
  await expect.poll(() => store.listStatuses(ctx, [])).toHaveLength(1)
  cancel()
  await expect(importing).rejects.toMatchObject({ name: 'AbortError' })
  expect(returned).toBe(true)
  expect(await store.listStatuses(ctx, [])).toEqual([])
})

test('what the source throws is thrown', async () => {
  const store = await openStore()
  async function* broken() {
    yield gzipSync(layout).subarray(0, 400)
    throw new Error('the network is gone')
  }
  await expect(importArchive(ctx, store, broken())).rejects.toThrow('the network is gone')
})

test('a failure of the store stops a compressed source that is still waited for', async () => {
  const store = await openStore()
  const full: ContentStore = {
    ...store,
    writer: () => Promise.reject(new Error('no space left')),
  }
  const pieces = [gzipSync(layout, { level: 0 }).subarray(0, 3000)]
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        const value = pieces.shift()
        return value === undefined ? new Promise<never>(() => {}) : { done: false, value }
      },
    }),
  }
  await expect(importArchive(ctx, full, source)).rejects.toThrow('no space left')
})

test.each(['raw', 'gzip'])('a slow store holds back the source: %s', async (kind) => {
  const store = await openStore()
  const { cancelled, cancel } = cancellableContext()
  let blocked = false
  const slow: ContentStore = {
    ...store,
    async writer(...args) {
      const writer = await store.writer(...args)
      writer.write = () => {
        blocked = true
        return new Promise((_, reject) => cancelled.signal.addEventListener('abort', () => reject(cancelled.signal.reason)))
      }
      return writer
    },
  }
  const piece = Buffer.alloc(64 * 1024, 1)
  const head = headerOf('big', 2 ** 40)
  let pulled = 0
  async function* endless() {
    const wrap = (bytes: Buffer) => (kind === 'raw' ? bytes : gzipSync(bytes, { level: 0 }))
    yield wrap(head)
    for (; pulled < 1000; pulled++) yield wrap(piece)
  }
  const importing = importArchive(cancelled, slow, endless())
  await expect.poll(() => blocked).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(pulled).toBeLessThan(60)
  cancel()
  await expect(importing).rejects.toMatchObject({ name: 'AbortError' })
})
