import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { tarEntries } from '@containerd-ts/archive'
import { anyPlatform, type ImageDescriptor, listedPlatforms, parseIndex, parsePlatform, readBlob } from '@containerd-ts/images'
import type { ContentStore } from '@containerd-ts/interface'
import { expect, test } from 'vitest'
import { exportArchive, importArchive } from '../src/index.js'
import {
  cancellableContext,
  collect,
  contentsOf,
  ctx,
  hasProgram,
  openStore,
  put,
  putImage,
  reference,
  run,
  scratch,
  streamOf,
  tarOf,
  types,
} from './fixtures.js'

const amd64 = { platform: listedPlatforms([parsePlatform('linux/amd64')]) }
const name = 'docker.io/library/a:1'

/** An index of two images that share a layer, and of a third one that is not there. */
async function putIndex() {
  const store = await openStore()
  const shared = await put(store, gzipSync(tarOf({ shared: 'x' })), types.layer)
  const own = await put(store, gzipSync(tarOf({ own: Buffer.alloc(3_000_000, 'y') }), { level: 0 }), types.layer)
  const images = [await putImage(store, 'arm64', [shared]), await putImage(store, 'amd64', [shared, own])]
  const missing = {
    ...reference(images[0] ?? own),
    digest: `sha256:${'f'.repeat(64)}`,
    platform: { os: 'linux', architecture: '386' },
  }
  const manifests = [...images.map((image, i) => reference(image, { os: 'linux', architecture: ['arm64', 'amd64'][i] })), missing]
  const index = await put(store, JSON.stringify({ schemaVersion: 2, mediaType: types.index, manifests }), types.index, {
    'containerd.io/distribution.source.docker.io': 'library/a',
  })
  return { store, index, images, shared, own, missing: missing.digest }
}

async function filesOf(archive: AsyncIterable<Uint8Array>): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  for await (const { header, data } of tarEntries(archive)) files.set(header.name.toString(), await collect(data))
  return files
}

function json(files: Map<string, Buffer>, file: string): unknown {
  return JSON.parse(files.get(file)?.toString() ?? 'null')
}

test('what another store imports is what was exported, and only of the platform that matches', async () => {
  const { store, index, images, shared, own } = await putIndex()
  const bytes = await collect(exportArchive(ctx, store, [{ name, target: index }], amd64))
  expect(bytes.equals(await collect(exportArchive(ctx, store, [{ name, target: index }], amd64)))).toBe(true)

  const files = await filesOf(streamOf(bytes, 100_000))
  const blobs = Object.keys(await contentsOf(store)).filter((digest) => digest !== images[0]?.digest)
  const paths = [...files.keys()]
  expect(paths).toEqual([...paths].sort())
  expect(paths.slice(-3)).toEqual(['index.json', 'manifest.json', 'oci-layout'])
  // The configuration of the other platform is not there either.
  expect(paths.filter((path) => /^blobs\/sha256\/./.test(path))).toHaveLength(blobs.length - 1)
  const annotations = {
    'containerd.io/distribution.source.docker.io': 'library/a',
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': '1',
  }
  expect(json(files, 'index.json')).toEqual({
    schemaVersion: 2,
    mediaType: types.index,
    manifests: [{ ...reference(index), annotations }],
  })
  const path = (digest: string) => digest.replace('sha256:', 'blobs/sha256/')
  expect(json(files, 'manifest.json')).toEqual([
    { Config: expect.stringMatching(/^blobs\/sha256\//), RepoTags: ['a:1'], Layers: [path(shared.digest), path(own.digest)] },
  ])

  const other = await openStore()
  const imported = await importArchive(ctx, other, streamOf(bytes, 100_000))
  const contents = await contentsOf(other)
  expect(Object.keys(contents).sort()).toEqual(
    [
      ...paths.filter((p) => /^blobs\/sha256\/./.test(p)).map((p) => p.replace('blobs/sha256/', 'sha256:')),
      imported.digest,
    ].sort(),
  )
  expect(contents[imported.digest]).toEqual({ 'containerd.io/gc.ref.content.0': index.digest })
  const again = await collect(exportArchive(ctx, other, [{ name, target: index }], amd64))
  // All but the source, which is a label of the first store.
  expect((await filesOf(streamOf(again))).get('manifest.json')).toEqual(files.get('manifest.json'))
})

test('of an index only what is wanted must be there', async () => {
  const { store, index, missing } = await putIndex()
  const all = exportArchive(ctx, store, [{ name, target: index }], { ...amd64, allPlatforms: true })
  await expect(collect(all)).rejects.toMatchObject({ code: 'NotFound', message: expect.stringContaining(missing) })
  const mips = listedPlatforms([parsePlatform('linux/mips')])
  await expect(collect(exportArchive(ctx, store, [{ name, target: index }], { platform: mips }))).rejects.toMatchObject({
    code: 'NotFound',
    message: expect.stringContaining('no manifest found for platform'),
  })
  const absent = { ...index, digest: missing }
  await expect(collect(exportArchive(ctx, store, [{ name, target: absent }], amd64))).rejects.toMatchObject({ code: 'NotFound' })
})

test('layers that registries do not hold can be left out', async () => {
  const store = await openStore()
  const foreign = await put(store, 'foreign', 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip')
  const target = await putImage(store, 'amd64', [foreign])
  await store.delete(ctx, foreign.digest)
  const options = { platform: anyPlatform, skipCompatibilityManifest: true }
  const all = exportArchive(ctx, store, [{ name, target }], options)
  await expect(collect(all)).rejects.toMatchObject({ code: 'NotFound', message: expect.stringContaining(foreign.digest) })
  const files = await filesOf(exportArchive(ctx, store, [{ name, target }], { ...options, skipNonDistributable: true }))
  expect([...files.keys()].filter((path) => /^blobs\/sha256\/./.test(path))).toHaveLength(2)
  expect(files.has('manifest.json')).toBe(false)
})

test('pieces are small and their own, and whoever stops early leaves nothing open', async () => {
  const { store, images } = await putIndex()
  let open = 0
  const counting: ContentStore = {
    ...store,
    async reader(...args) {
      const reader = await store.reader(...args)
      open++
      return {
        sizeBytes: reader.sizeBytes,
        read: (target, offset) => reader.read(target, offset),
        async close() {
          open--
          await reader.close()
        },
      }
    },
  }
  const target = images[1] ?? expect.fail()
  let largest = 0
  for await (const piece of exportArchive(ctx, counting, [{ name, target }], amd64)) largest = Math.max(largest, piece.length)
  expect(largest).toBe(1024 * 1024)
  for await (const piece of exportArchive(ctx, counting, [{ name, target }], amd64)) if (piece.length === largest) break
  expect(open).toBe(0)

  const { cancelled, cancel } = cancellableContext()
  const exporting = (async () => {
    for await (const piece of exportArchive(cancelled, counting, [{ name, target }], amd64))
      if (piece.length === largest) cancel()
  })()
  await expect(exporting).rejects.toMatchObject({ name: 'AbortError' })
  expect(open).toBe(0)
})

test('bytes that are not those of the digest, and targets that are no images, are refused', async () => {
  const { store, images, own } = await putIndex()
  const lying: ContentStore = {
    ...store,
    async reader(context, digest) {
      const reader = await store.reader(context, digest)
      return {
        sizeBytes: reader.sizeBytes,
        close: () => reader.close(),
        async read(buffer, offset) {
          const read = await reader.read(buffer, offset)
          if (digest === own.digest && offset === 0) buffer[100] = 0x7f
          return read
        },
      }
    },
  }
  const target = images[1] ?? expect.fail()
  await expect(collect(exportArchive(ctx, lying, [{ name, target }], amd64))).rejects.toMatchObject({ code: 'DataLoss' })
  await expect(collect(exportArchive(ctx, store, [{ name, target: own }], amd64))).rejects.toMatchObject({
    code: 'InvalidArgument',
  })
})

test.runIf(hasProgram('skopeo'))('skopeo reads both halves of an archive, and what it writes of them is imported', async () => {
  const { store, images } = await putIndex()
  const target = images[1] ?? expect.fail()
  const dir = await scratch()
  const file = join(dir, 'exported.tar')
  await writeFile(file, exportArchive(ctx, store, [{ name, target }], amd64))
  const skopeo = (...args: string[]) => run('skopeo', '--insecure-policy', ...args)
  expect(JSON.parse(skopeo('inspect', `oci-archive:${file}`))).toMatchObject({ Digest: target.digest, Architecture: 'amd64' })
  skopeo('copy', '--preserve-digests', `oci-archive:${file}`, `oci-archive:${join(dir, 'oci.tar')}:h/b:2`)
  skopeo('copy', `docker-archive:${file}`, `docker-archive:${join(dir, 'docker.tar')}:h/b:2`)

  const oci = await openStore()
  const index = await importArchive(ctx, oci, streamOf(await readFile(join(dir, 'oci.tar')), 70_000))
  expect(Object.keys(await contentsOf(oci))).toContain(target.digest)
  expect((await oci.info(ctx, index.digest)).labels).toEqual({ 'containerd.io/gc.ref.content.m.0': target.digest })

  // Its layers are uncompressed, and links with names of the old kind lead to them.
  const docker = await openStore()
  const made = await importArchive(ctx, docker, streamOf(await readFile(join(dir, 'docker.tar')), 70_000))
  const out = join(dir, 'again.tar')
  const images2 = [{ name: 'h/b:2', target: { ...(await onlyManifest(docker, made.digest)), annotations: {} } }]
  await writeFile(out, exportArchive(ctx, docker, images2, { platform: anyPlatform }))
  expect(JSON.parse(skopeo('inspect', `docker-archive:${out}`))).toMatchObject({ Architecture: 'amd64' })
  expect(JSON.parse(skopeo('inspect', '--config', '--raw', `docker-archive:${out}`)).rootfs.diff_ids).toHaveLength(2)
})

async function onlyManifest(store: ContentStore, digest: string): Promise<ImageDescriptor> {
  const [manifest, ...others] = parseIndex(await readBlob(ctx, store, digest, 1 << 20), 'index')
  expect(others).toEqual([])
  expect(manifest).toMatchObject({
    annotations: { 'io.containerd.image.name': 'docker.io/h/b:2', 'org.opencontainers.image.ref.name': '2' },
    platform: { os: 'linux', architecture: 'amd64' },
  })
  return manifest ?? expect.fail()
}

test('GNU tar lists it without complaint', async () => {
  const { store, index } = await putIndex()
  const bytes = await collect(exportArchive(ctx, store, [{ name, target: index }], amd64))
  const { stdout, stderr, status } = spawnSync('tar', ['-tvf', '-', '--utc'], { input: bytes, encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout.split('\n')[0]).toMatch(/^drwxr-xr-x 0\/0 +0 1970-01-01 00:00 blobs\/$/)
  expect(stdout).toMatch(/-r--r--r-- 0\/0 +30 1970-01-01 00:00 oci-layout/)
})
