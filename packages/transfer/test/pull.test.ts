import { chainIds } from '@containerd-ts/images'
import { background, type ContentStore, type StoredImage, type TransferProgress } from '@containerd-ts/interface'
import { afterEach, expect, test } from 'vitest'
import type { TransferOptions } from '../src/index.js'
import {
  openTransferrer,
  platform,
  registryImage,
  sha256,
  startRegistry,
  storedImage,
  twoPlatforms,
  unpackTarget,
} from './fixture.js'

const ctx = background('ns')
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function open(options: Partial<TransferOptions> = {}) {
  const images = twoPlatforms()
  const registry = await startRegistry(images)
  const { transferrer, metadata, close } = await openTransferrer(options)
  closing.push(registry.stop, close)
  const pull = (image: Partial<StoredImage> = {}, onProgress?: (progress: TransferProgress) => void, object = '') =>
    transferrer.transfer(ctx, registryImage(`${registry.reference}${object}`), storedImage(image), onProgress)
  return { ...images, registry, transferrer, metadata, pull }
}

async function digestsOf(content: ContentStore): Promise<string[]> {
  const digests: string[] = []
  for await (const { digest } of content.walk(ctx, [])) digests.push(digest)
  return digests.sort()
}

async function leasesOf({ metadata }: Awaited<ReturnType<typeof open>>): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of metadata.leases.list(ctx, [])) ids.push(id)
  return ids
}

test('all of an image is pulled when nothing else is said, each blob once, and survives a collection', async () => {
  const opened = await open()
  const { metadata, registry, blobs, index, pull } = opened
  await pull()
  expect(await digestsOf(metadata.content)).toEqual([...blobs.keys()].sort())
  expect([...registry.fetched].sort()).toEqual([...blobs.keys()].sort())
  expect((await metadata.images.get(ctx, 'image')).target.digest).toBe(index.digest)
  expect(await leasesOf(opened)).toEqual([])
  await metadata.collectGarbage(new AbortController().signal)
  expect(await digestsOf(metadata.content)).toEqual([...blobs.keys()].sort())
  const { labels } = await metadata.content.info(ctx, sha256('base'))
  expect(labels).toEqual({ 'containerd.io/distribution.source.127.0.0.1': 'test/image' })
})

test('of one platform the other images are left, or all but their layers', async () => {
  const { metadata, amd64, s390x, pull } = await open()
  await pull({ platforms: [platform('amd64')] })
  const digests = await digestsOf(metadata.content)
  expect(digests).toContain(amd64.digest)
  expect(digests).toContain(sha256('amd64'))
  expect(digests).not.toContain(s390x.digest)
  await pull({ platforms: [platform('amd64')], allMetadata: true })
  const more = await digestsOf(metadata.content)
  expect(more).toContain(s390x.digest)
  expect(more).not.toContain(sha256('s390x'))
})

test('a limit takes the platform that comes first, and wants one that is there', async () => {
  const { metadata, amd64, s390x, pull } = await open()
  await pull({ platforms: [platform('s390x'), platform('amd64')], manifestLimit: 1 })
  const digests = await digestsOf(metadata.content)
  expect(digests).toContain(s390x.digest)
  expect(digests).not.toContain(amd64.digest)
  await expect(pull({ platforms: [platform('arm64')], manifestLimit: 1 })).rejects.toMatchObject({ code: 'NotFound' })
})

test('what is asked for is unpacked, layer on layer, and what is unpacked is not fetched again', async () => {
  const target = unpackTarget()
  const { metadata, registry, pull } = await open({ targets: [target] })
  const unpacks = [{ platform: platform('amd64'), snapshotter: '' }]
  const events: string[] = []
  await pull({ platforms: [platform('amd64')], unpacks }, ({ event }) => events.push(event))
  const [base = '', top = ''] = chainIds([sha256('base'), sha256('amd64')])
  expect([...target.snapshots]).toEqual([
    [base, ''],
    [top, base],
  ])
  expect(events.filter((event) => event === 'extracted')).toHaveLength(2)
  expect((await metadata.content.info(ctx, sha256('amd64'))).labels).toMatchObject({
    'containerd.io/uncompressed': sha256('amd64'),
  })

  for (const layer of ['base', 'amd64']) await metadata.content.delete(ctx, sha256(layer))
  registry.fetched.length = 0
  await pull({ platforms: [platform('amd64')], unpacks })
  expect(registry.fetched).toEqual([])
})

test('a snapshotter that is not there is left out, and all is fetched', async () => {
  const target = unpackTarget('native')
  const { metadata, blobs, pull } = await open({ targets: [target] })
  await pull({ unpacks: [{ platform: platform('amd64'), snapshotter: 'btrfs' }] })
  expect(target.snapshots.size).toBe(0)
  expect(await digestsOf(metadata.content)).toEqual([...blobs.keys()].sort())
})

test('a layer that is not what the configuration says leaves no snapshot, no name and no lease', async () => {
  const target = unpackTarget('overlayfs', async (_, descriptor) =>
    descriptor.digest === sha256('amd64') ? { ...descriptor, digest: sha256('else') } : descriptor,
  )
  const opened = await open({ targets: [target] })
  const unpacks = [{ platform: platform('amd64'), snapshotter: '' }]
  await expect(opened.pull({ platforms: [platform('amd64')], unpacks })).rejects.toMatchObject({
    code: 'FailedPrecondition',
    message: expect.stringContaining(`layer ${sha256('amd64')}: wrong diff id ${sha256('else')}`),
  })
  expect([...target.snapshots.keys()]).toEqual([sha256('base')])
  await expect(opened.metadata.images.get(ctx, 'image')).rejects.toMatchObject({ code: 'NotFound' })
  expect(await leasesOf(opened)).toEqual([])
})

test('a blob that the registry lacks ends the pull; what was fetched is used by the next one', async () => {
  const opened = await open()
  const { blobs, registry, pull } = opened
  const missing = blobs.get(sha256('s390x'))
  blobs.delete(sha256('s390x'))
  await expect(pull()).rejects.toMatchObject({ code: 'NotFound', message: expect.stringContaining(sha256('s390x')) })
  expect(await leasesOf(opened)).toEqual([])
  if (missing !== undefined) blobs.set(sha256('s390x'), missing)
  registry.fetched.length = 0
  await pull()
  expect(registry.fetched).toContain(sha256('s390x'))
})

test('bytes that are not those of their digest are refused, and can be fetched anew', async () => {
  const { blobs, pull, metadata } = await open()
  const blob = blobs.get(sha256('base'))
  if (blob === undefined) throw new Error('no layer')
  blobs.set(sha256('base'), { ...blob, bytes: Buffer.from('evil') })
  await expect(pull()).rejects.toMatchObject({ code: 'FailedPrecondition' })
  blobs.set(sha256('base'), blob)
  await pull()
  expect((await metadata.content.info(ctx, sha256('base'))).sizeBytes).toBe(4)
})

test('indexes that list one another many times over are walked once', async () => {
  const { blobs, index, pull, registry } = await open()
  let nested = { mediaType: index.mediaType, digest: index.digest, size: index.size }
  for (let level = 0; level < 8; level++) {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, level, manifests: Array.from({ length: 50 }, () => nested) }))
    nested = { mediaType: index.mediaType, digest: sha256(bytes), size: bytes.length }
    blobs.set(nested.digest, { bytes, mediaType: index.mediaType })
  }
  await pull({ name: 'nested' }, undefined, `@${nested.digest}`)
  expect(registry.fetched).toHaveLength(blobs.size)
})

test('a name that is not there is told as what could not be resolved', async () => {
  const { transferrer, registry } = await open()
  const reference = registry.reference.replace('latest', 'other')
  await expect(transferrer.transfer(ctx, registryImage(reference), storedImage())).rejects.toMatchObject({
    code: 'NotFound',
    message: expect.stringMatching(/^failed to resolve image: .*test\/image:other/),
  })
})

test('an image that a verifier rejects, or cannot judge, is not pulled', async () => {
  const asked: string[] = []
  const verifiers = new Map([
    ['first', { verify: async () => ({ ok: asked.push('first') > 0, reason: '' }) }],
    ['second', { verify: async () => ({ ok: asked.push('second') > 9, reason: 'not signed' }) }],
  ])
  const { index, metadata, registry, pull } = await open({ verifiers })
  await expect(pull()).rejects.toMatchObject({
    code: 'PermissionDenied',
    message: expect.stringContaining(`${index.digest} for reason: not signed`),
  })
  verifiers.set('second', { verify: () => Promise.reject(new Error('it crashed')) })
  await expect(pull()).rejects.toThrow('image verifier second returned error: it crashed')
  expect(asked).toEqual(['first', 'second', 'first'])
  expect(registry.fetched).toEqual([])
  expect(await digestsOf(metadata.content)).toEqual([])
  verifiers.delete('second')
  await pull()
})

test('a cancelled pull ends at once and leaves no lease', async () => {
  const controller = new AbortController()
  const target = unpackTarget(
    'overlayfs',
    () => new Promise((_, reject) => controller.signal.addEventListener('abort', () => reject(controller.signal.reason))),
  )
  const opened = await open({ targets: [target] })
  const unpacks = [{ platform: platform('amd64'), snapshotter: '' }]
  const pulling = opened.transferrer.transfer(
    background('ns', { signal: controller.signal }),
    registryImage(opened.registry.reference),
    storedImage({ unpacks }),
  )
  await expect.poll(() => target.snapshots.size).toBeGreaterThan(0)
  controller.abort(new Error('enough'))
  await expect(pulling).rejects.toThrow('enough')
  expect(target.snapshots.size).toBe(0)
  expect(await leasesOf(opened)).toEqual([])
})

test('a way that nobody knows is Unimplemented', async () => {
  const { transferrer, registry } = await open()
  const image = registryImage(registry.reference)
  await expect(transferrer.transfer(ctx, image, image)).rejects.toMatchObject({ code: 'Unimplemented' })
})
