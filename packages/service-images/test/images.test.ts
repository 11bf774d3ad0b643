import { background, isNotFound } from '@containerd-ts/interface'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Fixture, openService } from './fixture.js'

const ctx = background('n')
let fixture: Fixture

beforeEach(async () => {
  fixture = await openService()
})

afterEach(() => fixture.close())

const image = (digest: string, labels: Record<string, string> = {}) => ({
  name: 'docker.io/library/x:latest',
  labels,
  target: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 3, annotations: { a: 'b' } },
  createdAt: undefined,
  updatedAt: undefined,
})
const digest = `sha256:${'a'.repeat(64)}`

async function put(text: string): Promise<string> {
  const writer = await fixture.metadata.content.writer(ctx, { ref: text })
  await writer.write(Buffer.from(text))
  return (await writer.commit(ctx, {})).digest
}

it('carries every field of an image there and back', async () => {
  const { service } = fixture
  const sourceDateEpoch = { seconds: 5, nanos: 6 }
  const { image: created } = await service.create(ctx, { image: image(digest, { k: 'v' }), sourceDateEpoch })
  expect(created).toEqual({ ...image(digest, { k: 'v' }), createdAt: sourceDateEpoch, updatedAt: sourceDateEpoch })
  expect((await service.get(ctx, { name: image(digest).name })).image).toEqual(created)
  expect((await service.list(ctx, { filters: [] })).images).toEqual([created])
  const updated = await service.update(ctx, {
    image: image(digest, { k: 'w', no: 'no' }),
    updateMask: ['labels.k'],
    sourceDateEpoch: undefined,
  })
  expect(updated.image?.labels).toEqual({ k: 'w' })
})

it('answers a synchronous deletion when the content is gone', async () => {
  const { service, metadata } = fixture
  const content = await put('abc')
  await service.create(ctx, { image: image(content), sourceDateEpoch: undefined })
  const { name } = image(content)
  const target = { ...image(digest).target, artifactType: '' }
  await expect(service.delete(ctx, { name, sync: true, target })).rejects.toThrow(
    `image "${name}" has target ${content}, not ${digest}: not found`,
  )
  await service.delete(ctx, { name, sync: true, target: undefined })
  expect(isNotFound(await metadata.content.info(ctx, content).catch((error: unknown) => error))).toBe(true)
})

it('wants a name before a namespace', async () => {
  const { service } = fixture
  const nameless = { image: { ...image(digest), name: '' }, sourceDateEpoch: undefined }
  await expect(service.create(background(''), nameless)).rejects.toThrow(/^Image.Name required: invalid argument$/)
  await expect(service.update(background(''), { ...nameless, updateMask: [] })).rejects.toThrow(
    /^Image.Name required: invalid argument$/,
  )
  await expect(service.get(background(''), { name: 'x' })).rejects.toThrow('namespace is required')
})
