import assert from 'node:assert/strict'
import {
  background,
  type Context,
  type Labels,
  type MetadataStore,
  type Namespace,
  type NamespaceStore,
} from '@containerd-ts/interface'
import { eachTest } from './each-test.js'
import { collect, failsWith } from './expect.js'
import { containerOf, imageOf } from './records.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** The parts of a store that the suite asks of; a client of a daemon has them as well as the store itself. */
export type MetadataUnderTest = Pick<MetadataStore, 'images' | 'containers' | 'namespaces' | 'leases'>

/** A store without any namespace that begins with `prefix`, for one test. */
export interface NamespaceStoreUnderTest {
  /** Namespaces come and go with what is in them. */
  readonly metadata: MetadataUnderTest
  /** Of all namespaces that the test uses; may be empty for a fresh store. */
  readonly prefix: string
  close(): Promise<void>
}

/** What every {@link NamespaceStore} must do, and how it keeps apart what is in namespaces. */
export function namespaceStoreSuite(api: TestApi, open: () => Promise<NamespaceStoreUnderTest>): void {
  const test = eachTest(api, open)
  // Namespaces are in none themselves.
  const ctx = background()
  api.describe('namespace store', () => {
    test('are there when something was written to them', async ({ metadata: { namespaces, images }, prefix }) => {
      assert.deepEqual(await namespaces.get(ctx, `${prefix}unknown`), { name: `${prefix}unknown`, labels: {} })
      assert.deepEqual(await listed(namespaces, prefix), [])
      await namespaces.create(ctx, { name: `${prefix}made`, labels: { a: '1', none: '' } })
      await namespaces.update(ctx, { name: `${prefix}Updated`, labels: { b: '2' } }, ['labels.b'])
      await images.create(background(`${prefix}written`), imageOf('i'))
      assert.deepEqual(await listed(namespaces, prefix), [
        { name: `${prefix}Updated`, labels: { b: '2' } },
        { name: `${prefix}made`, labels: { a: '1' } },
        { name: `${prefix}written`, labels: {} },
      ])
      for (const name of [`${prefix}made`, `${prefix}written`])
        await failsWith('AlreadyExists', () => namespaces.create(ctx, { name, labels: {} }))
      for (const name of ['', 'a/b', '-a']) await failsWith('InvalidArgument', () => namespaces.create(ctx, { name, labels: {} }))
    })

    test('change as the field paths say', async ({ metadata: { namespaces }, prefix }) => {
      await namespaces.create(ctx, { name: `${prefix}n`, labels: { a: '1', b: '2', c: '3' } })
      const update = async (labels: Labels, ...fieldpaths: string[]) => {
        await namespaces.update(ctx, { name: `${prefix}n`, labels }, fieldpaths)
        return (await namespaces.get(ctx, `${prefix}n`)).labels
      }
      assert.deepEqual(await update({ a: 'x', b: '' }, 'labels.a', 'labels.b'), { a: 'x', c: '3' })
      assert.deepEqual(await update({ d: '4' }), { d: '4' })
      for (const path of ['labels', 'name']) {
        const error = await failsWith('InvalidArgument', () => update({ e: '5' }, 'labels.e', path))
        assert.match(error.message, new RegExp(`^cannot update "${path}" field`))
      }
      assert.deepEqual((await namespaces.get(ctx, `${prefix}n`)).labels, { d: '4' })
    })

    test('are deleted when they are empty, with their leases', async ({
      metadata: { namespaces, images, containers, leases },
      prefix,
    }) => {
      const inside = background(`${prefix}n`)
      await images.create(inside, imageOf('i'))
      await containers.create(inside, containerOf('c'))
      await leases.create(inside, { id: 'l', labels: {} })
      const error = await failsWith('FailedPrecondition', () => namespaces.delete(ctx, `${prefix}n`))
      assert.equal(
        error.message,
        `namespace "${prefix}n" must be empty, but it still has images, containers: failed precondition`,
      )
      await images.delete(inside, 'i')
      await containers.delete(inside, 'c')
      await namespaces.delete(ctx, `${prefix}n`)
      await failsWith('NotFound', () => namespaces.delete(ctx, `${prefix}n`))
      await namespaces.create(ctx, { name: `${prefix}n`, labels: {} })
      assert.deepEqual(await collect(leases.list(inside, [])), [])
    })

    test('see nothing of each other', async ({ metadata: { images, containers, leases }, prefix }) => {
      const [one, two] = [background(`${prefix}one`), background(`${prefix}two`)]
      await images.create(one, imageOf('i'))
      await containers.create(one, containerOf('c'))
      await leases.create(one, { id: 'l', labels: {} })
      await failsWith('NotFound', () => images.get(two, 'i'))
      await failsWith('NotFound', () => containers.get(two, 'c'))
      await failsWith('NotFound', () => leases.delete(two, 'l'))
      assert.deepEqual([await collect(images.list(two, [])), await collect(containers.list(two, []))], [[], []])
      await images.create(two, imageOf('i'))
    })

    test('are required and checked', async ({ metadata: { images, containers, leases } }) => {
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
}

async function listed(store: NamespaceStore, prefix: string): Promise<Namespace[]> {
  return (await store.list(background())).filter(({ name }) => name.startsWith(prefix))
}
