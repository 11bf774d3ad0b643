import { background, type ImageReference, type StoredImage } from '@containerd-ts/interface'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nameImage, nameImageOfArchive } from '../src/name-images.js'
import { openTransferrer, sha256, storedImage } from './fixture.js'

const ctx = background('ns')
let opened: Awaited<ReturnType<typeof openTransferrer>>
beforeAll(async () => {
  opened = await openTransferrer()
})
afterAll(() => opened.close())

const digest = sha256('manifest')
const target = (annotations = {}) => ({
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest,
  sizeBytes: 8,
  annotations,
})
const reference = (fields: Partial<ImageReference>): ImageReference => ({
  name: 'prefix',
  isPrefix: true,
  allowOverwrite: false,
  addDigest: false,
  skipNamedDigest: false,
  ...fields,
})
const full = (name: string) => ({ 'io.containerd.image.name': name })
const tag = (name: string) => ({ 'org.opencontainers.image.ref.name': name })

async function named(name: typeof nameImage, image: Partial<StoredImage>, annotations = {}) {
  const images = await name(ctx, opened.metadata.images, storedImage(image), target(annotations))
  return images.map((each) => each.name)
}

test.each<[string, ImageReference, Record<string, string>, string[]]>([
  ['a full name below the prefix', reference({}), full('prefix:v1'), ['prefix:v1']],
  ['a full name elsewhere is not taken', reference({}), full('docker.io/library/other:v1'), []],
  [
    'but where the archive may name it',
    reference({ allowOverwrite: true }),
    full('docker.io/library/other:v1'),
    ['docker.io/library/other:v1'],
  ],
  ['a tag alone is put behind the prefix', reference({}), tag('v2'), ['prefix:v2']],
  ['no name, and no digest asked for', reference({}), {}, []],
  ['no name, by its digest', reference({ addDigest: true }), {}, [`prefix@${digest}`]],
  ['a name and its digest', reference({ addDigest: true }), tag('v3'), ['prefix:v3', `prefix@${digest}`]],
  ['its digest only where there is no name', reference({ addDigest: true, skipNamedDigest: true }), tag('v4'), ['prefix:v4']],
  ['a whole reference is for other things', reference({ isPrefix: false, name: 'whole:v1' }), tag('v5'), []],
])('of an archive: %s', async (_, extra, annotations, names) => {
  expect(await named(nameImageOfArchive, { name: '', extraReferences: [extra] }, annotations)).toEqual(names)
})

test('a pulled image has its name, whole references and digests; these go with the name', async () => {
  const extraReferences = [
    reference({ isPrefix: false, name: 'second:v1' }),
    reference({}),
    reference({ addDigest: true, skipNamedDigest: true }),
  ]
  expect(await named(nameImage, { name: 'first:v1', labels: { a: 'b' }, extraReferences })).toEqual([
    'first:v1',
    'second:v1',
    `prefix@${digest}`,
  ])
  expect((await opened.metadata.images.get(ctx, 'first:v1')).labels).toEqual({ a: 'b' })
  expect((await opened.metadata.images.get(ctx, 'second:v1')).labels).toEqual({
    a: 'b',
    'containerd.io/gc.bref.image': 'first:v1',
    'containerd.io/gc.expire': expect.stringMatching(/^\d{4}-/),
  })
})

test('a name that is taken points to the new image', async () => {
  const images = opened.metadata.images
  await images.create(ctx, { name: 'taken:v1', labels: { old: 'yes' }, target: { ...target(), digest: sha256('old') } })
  await named(nameImage, { name: 'taken:v1' })
  expect(await images.get(ctx, 'taken:v1')).toMatchObject({ labels: {}, target: { digest } })
})
