import assert from 'node:assert/strict'
import { compareTimestamps } from '@containerd-ts/api'
import {
  background,
  type ContainerWrite,
  type Context,
  type Descriptor,
  type ImageWrite,
  type Labels,
  type MetadataStore,
} from '@containerd-ts/interface'
import { collect, failsWith, stampedWithin } from './expect.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** The parts of a store that the suite asks of; a client of a daemon has them as well as the store itself. */
export type MetadataUnderTest = Pick<MetadataStore, 'images' | 'containers' | 'namespaces' | 'leases'>

/** A fresh, empty store for one test. */
export interface MetadataStoreUnderTest {
  readonly metadata: MetadataUnderTest
  close(): Promise<void>
}

// UTF-8 sorts these otherwise than UTF-16 does.
const names = ['B', 'a', 'a/b:c', 'ab', 'é', '\uffee', '\u{1f600}']

/** What every metadata store must do with images, containers, namespaces and leases, one store for each test. */
export function metadataStoreSuite({ describe, it }: TestApi, open: () => Promise<MetadataStoreUnderTest>): void {
  const ctx = background('suite')
  const test = (name: string, run: (metadata: MetadataUnderTest) => Promise<void>) =>
    it(name, async () => {
      const { metadata, close } = await open()
      try {
        await run(metadata)
      } finally {
        await close()
      }
    })

  describe('images', () => {
    test('are made, read, listed in byte order and deleted', async ({ images }) => {
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

    test('change as the field paths say', async ({ images }) => {
      const { createdAt } = await images.create(ctx, imageOf('i', { labels: { a: '1', 'b.c/d': '2' }, annotations: { x: '1' } }))
      const update = (changes: Changes, ...fieldpaths: string[]) =>
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

    test('take the time of their source where it is given', async ({ images }) => {
      const early = { seconds: 1000, nanos: 5 }
      const later = { seconds: 2000, nanos: 6 }
      const image = await images.create(ctx, { ...imageOf('i'), sourceDateEpoch: early })
      assert.deepEqual([image.createdAt, image.updatedAt], [early, early])
      const updated = await images.update(ctx, { ...imageOf('i'), sourceDateEpoch: later }, [])
      assert.deepEqual([updated.createdAt, updated.updatedAt], [early, later])
    })

    test('are deleted only with the target that is asked for', async ({ images }) => {
      await images.create(ctx, imageOf('i'))
      const error = await failsWith('NotFound', () => images.delete(ctx, 'i', digest('b')))
      assert.equal(error.message, `image "i" has target ${digest('a')}, not ${digest('b')}: not found`)
      await images.delete(ctx, 'i', digest('a'))
    })

    test('are refused when malformed, changed or not', async ({ images }) => {
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

  describe('containers', () => {
    test('are made, read, listed in byte order and deleted', async ({ containers }) => {
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

    test('change as the field paths say', async ({ containers }) => {
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

    test('are refused when malformed', async ({ containers }) => {
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

  describe('namespaces', () => {
    test('are there when something was written to them', async ({ namespaces, images }) => {
      assert.deepEqual(await namespaces.get(ctx, 'unknown'), { name: 'unknown', labels: {} })
      assert.deepEqual(await namespaces.list(ctx), [])
      await namespaces.create(ctx, { name: 'made', labels: { a: '1', none: '' } })
      await namespaces.update(ctx, { name: 'Updated', labels: { b: '2' } }, ['labels.b'])
      await images.create(background('written'), imageOf('i'))
      assert.deepEqual(await namespaces.list(ctx), [
        { name: 'Updated', labels: { b: '2' } },
        { name: 'made', labels: { a: '1' } },
        { name: 'written', labels: {} },
      ])
      for (const name of ['made', 'written']) await failsWith('AlreadyExists', () => namespaces.create(ctx, { name, labels: {} }))
      for (const name of ['', 'a/b', '-a']) await failsWith('InvalidArgument', () => namespaces.create(ctx, { name, labels: {} }))
    })

    test('change as the field paths say', async ({ namespaces }) => {
      await namespaces.create(ctx, { name: 'n', labels: { a: '1', b: '2', c: '3' } })
      const update = async (labels: Labels, ...fieldpaths: string[]) => {
        await namespaces.update(ctx, { name: 'n', labels }, fieldpaths)
        return (await namespaces.get(ctx, 'n')).labels
      }
      assert.deepEqual(await update({ a: 'x', b: '' }, 'labels.a', 'labels.b'), { a: 'x', c: '3' })
      assert.deepEqual(await update({ d: '4' }), { d: '4' })
      for (const path of ['labels', 'name']) {
        const error = await failsWith('InvalidArgument', () => update({ e: '5' }, 'labels.e', path))
        assert.match(error.message, new RegExp(`^cannot update "${path}" field`))
      }
      assert.deepEqual((await namespaces.get(ctx, 'n')).labels, { d: '4' })
    })

    test('are deleted when they are empty, with their leases', async ({ namespaces, images, containers, leases }) => {
      const inside = background('n')
      await images.create(inside, imageOf('i'))
      await containers.create(inside, containerOf('c'))
      await leases.create(inside, { id: 'l', labels: {} })
      const error = await failsWith('FailedPrecondition', () => namespaces.delete(ctx, 'n'))
      assert.equal(error.message, 'namespace "n" must be empty, but it still has images, containers: failed precondition')
      await images.delete(inside, 'i')
      await containers.delete(inside, 'c')
      await namespaces.delete(ctx, 'n')
      await failsWith('NotFound', () => namespaces.delete(ctx, 'n'))
      await namespaces.create(ctx, { name: 'n', labels: {} })
      assert.deepEqual(await collect(leases.list(inside, [])), [])
    })

    test('see nothing of each other', async ({ images, containers, leases }) => {
      const [one, two] = [background('one'), background('two')]
      await images.create(one, imageOf('i'))
      await containers.create(one, containerOf('c'))
      await leases.create(one, { id: 'l', labels: {} })
      await failsWith('NotFound', () => images.get(two, 'i'))
      await failsWith('NotFound', () => containers.get(two, 'c'))
      await failsWith('NotFound', () => leases.delete(two, 'l'))
      assert.deepEqual([await collect(images.list(two, [])), await collect(containers.list(two, []))], [[], []])
      await images.create(two, imageOf('i'))
    })

    test('are required and checked', async ({ images, containers, leases }) => {
      for (const [namespace, code] of [
        ['', 'FailedPrecondition'],
        ['a/b', 'InvalidArgument'],
      ] as const) {
        const wrong: Context = background(namespace)
        for (const operation of [
          () => images.get(wrong, 'i'),
          () => collect(images.list(wrong, [])),
          () => images.create(wrong, imageOf('i')),
          () => containers.get(wrong, 'c'),
          () => containers.create(wrong, containerOf('c')),
          () => leases.create(wrong, { id: '', labels: {} }),
        ]) {
          await failsWith(code, operation)
        }
      }
    })
  })

  describe('leases', () => {
    test('are made, listed and deleted', async ({ leases }) => {
      for (const id of [...names].reverse()) {
        const lease = await stampedWithin(
          () => leases.create(ctx, { id, labels: { id, none: '' } }),
          ({ createdAt }) => [createdAt],
        )
        assert.deepEqual([lease.id, lease.labels], [id, { id }])
      }
      const list = async (...filters: string[]) => (await collect(leases.list(ctx, filters))).map(({ id }) => id)
      assert.deepEqual(await list(), names)
      assert.deepEqual(await list('id==a', 'labels.id==ab'), ['a', 'ab'])
      await failsWith('AlreadyExists', () => leases.create(ctx, { id: 'a', labels: {} }))
      await leases.delete(ctx, 'a')
      await failsWith('NotFound', () => leases.delete(ctx, 'a'))
      const [one, two] = await Promise.all([
        leases.create(ctx, { id: '', labels: {} }),
        leases.create(ctx, { id: '', labels: {} }),
      ])
      assert.ok(one.id !== '' && two.id !== '' && one.id !== two.id)
    })

    test('list what they keep', async ({ leases }) => {
      const resources = [
        { type: 'content', id: digest('a') },
        { type: 'images', id: 'some/image:tag' },
        { type: 'ingests', id: 'ref with \0 and \u0001' },
        { type: 'snapshots/native', id: 'a' },
        { type: 'snapshots/native', id: 'a/b' },
        { type: 'snapshots/overlayfs', id: 'a' },
      ]
      await leases.create(ctx, { id: 'l', labels: {} })
      await leases.create(ctx, { id: 'l2', labels: {} })
      for (const resource of [...resources].reverse()) {
        await leases.addResource(ctx, 'l', resource)
        await leases.addResource(ctx, 'l', resource)
      }
      assert.deepEqual(await leases.listResources(ctx, 'l'), resources)
      assert.deepEqual(await leases.listResources(ctx, 'l2'), [])
      for (const resource of resources.slice(1)) {
        await leases.deleteResource(ctx, 'l', resource)
        await leases.deleteResource(ctx, 'l', resource)
      }
      assert.deepEqual(await leases.listResources(ctx, 'l'), resources.slice(0, 1))
      await leases.delete(ctx, 'l')
      await leases.create(ctx, { id: 'l', labels: {} })
      assert.deepEqual(await leases.listResources(ctx, 'l'), [])
    })

    test('refuse what they cannot keep', async ({ leases }) => {
      await leases.create(ctx, { id: 'l', labels: {} })
      for (const [type, id, code] of [
        ['content', 'not a digest', 'InvalidArgument'],
        ['content/x', digest('a'), 'InvalidArgument'],
        ['snapshots', 'a', 'InvalidArgument'],
        ['snapshots/a/b', 'a', 'InvalidArgument'],
        ['images', '', 'InvalidArgument'],
        ['containers', 'a', 'Unimplemented'],
        ['leases', 'a', 'Unimplemented'],
        ['image', 'a', 'Unimplemented'],
        ['', 'a', 'Unimplemented'],
      ] as const) {
        await failsWith(code, () => leases.addResource(ctx, 'l', { type, id }))
        await failsWith(code, () => leases.deleteResource(ctx, 'l', { type, id }))
        await failsWith('NotFound', () => leases.addResource(ctx, 'missing', { type, id }))
      }
      await failsWith('NotFound', () => leases.listResources(ctx, 'missing'))
    })
  })
}

type Changes = Partial<Descriptor> & { labels?: Labels }

function imageOf(name: string, { labels = {}, ...target }: Changes = {}): ImageWrite {
  return {
    name,
    labels,
    target: {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: digest('a'),
      sizeBytes: 7,
      annotations: {},
      ...target,
    },
  }
}

function containerOf(id: string, changes: Partial<ContainerWrite> = {}): ContainerWrite {
  return {
    id,
    labels: {},
    image: '',
    runtime: { name: 'io.containerd.runc.v2' },
    snapshotter: '',
    snapshotKey: '',
    extensions: {},
    sandbox: '',
    ...changes,
  }
}

function digest(char: string): string {
  return `sha256:${char.repeat(64)}`
}

function bytesOf(any: { typeUrl: string; value: Uint8Array } | undefined) {
  return any && [any.typeUrl, ...any.value]
}
