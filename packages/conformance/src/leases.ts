import assert from 'node:assert/strict'
import type { LeaseManager } from '@containerd-ts/interface'
import { eachTest, type UnderTest } from './each-test.js'
import { collect, failsWith, stampedWithin } from './expect.js'
import { digest, names } from './records.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** A {@link LeaseManager} for one test: a fresh one, or a namespace of its own. */
export type LeaseManagerUnderTest = UnderTest<LeaseManager>

/** What every {@link LeaseManager} must do, one store or one namespace for each test. */
export function leaseManagerSuite(api: TestApi, open: () => Promise<LeaseManagerUnderTest>): void {
  const test = eachTest(api, open)
  api.describe('lease manager', () => {
    test('are made, listed and deleted', async ({ store: leases, ctx }) => {
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

    test('list what they keep', async ({ store: leases, ctx }) => {
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

    test('refuse what they cannot keep', async ({ store: leases, ctx }) => {
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
