import assert from 'node:assert/strict'
import { chmod, chown, link, lstat, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { compareTimestamps } from '@containerd-ts/api'
import type { Context, Mount, SnapshotInfo, Snapshotter } from '@containerd-ts/interface'
import { collect, failsWith, stampedWithin } from './expect.js'
import type { TestApi } from './test-api.js'

export type { TestApi } from './test-api.js'

/** A fresh, empty snapshotter for one test. */
export interface SnapshotterUnderTest {
  readonly snapshotter: Snapshotter
  /** For every operation of the test. */
  readonly ctx: Context
  close(): Promise<void>
}

/** Gives `use` a directory on which `mounts` are mounted meanwhile. */
export type WithMounts = (mounts: readonly Mount[], use: (root: string) => Promise<void>) => Promise<void>

/** What the snapshotter under test is asked beyond what every one must do. */
export interface SnapshotterSuiteOptions {
  /** Mounts for the tests of what is in the trees; without it those are left out. Needs privileges for most snapshotters. */
  mount?: WithMounts
  /** The snapshotter has the capability `rebase`: what was prepared without a parent may be given one by its commit. */
  rebase?: boolean
}

// As clients use them in tests that nobody collects garbage from.
const keep = { 'containerd.io/gc.root': 'test' }

/** What every {@link Snapshotter} must do, one snapshotter for each test. */
export function snapshotterSuite(
  { describe, it }: TestApi,
  open: () => Promise<SnapshotterUnderTest>,
  options: SnapshotterSuiteOptions = {},
): void {
  const test = (name: string, run: (snapshotter: Snapshotter, ctx: Context) => Promise<void>) =>
    it(name, async () => {
      const { snapshotter, ctx, close } = await open()
      try {
        await run(snapshotter, ctx)
      } finally {
        await close()
      }
    })

  describe('snapshotter', () => {
    test('an active snapshot is committed and carries others', async (snapshotter, ctx) => {
      const stamps = async (key: string, operation: () => Promise<unknown>): Promise<SnapshotInfo> => {
        const info = await stampedWithin(
          async () => {
            await operation()
            return snapshotter.stat(ctx, key)
          },
          ({ createdAt, updatedAt }) => [createdAt, updatedAt],
        )
        assert.deepEqual(info.createdAt, info.updatedAt)
        return info
      }
      const key = '/tmp/some path/active one'
      const active = await stamps(key, () => snapshotter.prepare(ctx, key, '', { labels: { ...keep, a: '1' } }))
      assert.deepEqual(shape(active), { kind: 'active', name: key, parent: '', labels: { ...keep, a: '1' } })
      const committed = await stamps('base', () => snapshotter.commit(ctx, 'base', key, { labels: { ...keep, b: '2' } }))
      assert.deepEqual(shape(committed), { kind: 'committed', name: 'base', parent: '', labels: { ...keep, b: '2' } })
      for (const operation of [
        () => snapshotter.stat(ctx, key),
        () => snapshotter.mounts(ctx, key),
        () => snapshotter.remove(ctx, key),
        () => snapshotter.usage(ctx, key),
      ]) {
        await failsWith('NotFound', operation)
      }
      await snapshotter.prepare(ctx, key, 'base', { labels: keep })
      await snapshotter.view(ctx, 'view', 'base', { labels: keep })
      assert.equal((await snapshotter.stat(ctx, key)).parent, 'base')
      assert.deepEqual(shape(await snapshotter.stat(ctx, 'view')), { kind: 'view', name: 'view', parent: 'base', labels: keep })
      for (const name of [key, 'view']) assert.ok((await snapshotter.mounts(ctx, name)).length > 0)
      await failsWith('FailedPrecondition', () => snapshotter.mounts(ctx, 'base'))
    })

    test('a key is taken once, whatever it names', async (snapshotter, ctx) => {
      await snapshotter.prepare(ctx, 'active', '', { labels: keep })
      await snapshotter.view(ctx, 'view', '', { labels: keep })
      await snapshotter.prepare(ctx, 'to commit', '', { labels: keep })
      await snapshotter.commit(ctx, 'committed', 'to commit', { labels: keep })
      await snapshotter.prepare(ctx, 'to commit', '', { labels: keep })
      for (const key of ['active', 'view', 'committed']) {
        await failsWith('AlreadyExists', () => snapshotter.prepare(ctx, key, '', { labels: keep }))
        await failsWith('AlreadyExists', () => snapshotter.view(ctx, key, '', { labels: keep }))
        await failsWith('AlreadyExists', () => snapshotter.commit(ctx, key, 'to commit', { labels: keep }))
      }
      assert.equal((await snapshotter.stat(ctx, 'to commit')).kind, 'active')
      const outcomes = await Promise.allSettled([1, 2, 3].map(() => snapshotter.prepare(ctx, 'race', '', { labels: keep })))
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
    })

    test('parents are committed, and only active snapshots are committed', async (snapshotter, ctx) => {
      await snapshotter.prepare(ctx, 'active', '', { labels: keep })
      await snapshotter.view(ctx, 'view', '', { labels: keep })
      for (const make of [snapshotter.prepare, snapshotter.view]) {
        await failsWith('NotFound', () => make.call(snapshotter, ctx, 'new', 'missing', { labels: keep }))
        await failsWith('InvalidArgument', () => make.call(snapshotter, ctx, 'new', 'active', { labels: keep }))
        await failsWith('NotFound', () => snapshotter.stat(ctx, 'new'))
      }
      await failsWith('FailedPrecondition', () => snapshotter.commit(ctx, 'name', 'view', { labels: keep }))
      await failsWith('NotFound', () => snapshotter.commit(ctx, 'name', 'missing', { labels: keep }))
      await failsWith('NotFound', () => snapshotter.stat(ctx, 'name'))
      await snapshotter.mounts(ctx, 'view')
    })

    test('children are removed before their parents, and a key can be taken again at once', async (snapshotter, ctx) => {
      await snapshotter.prepare(ctx, 'a', '', { labels: keep })
      await snapshotter.commit(ctx, 'base', 'a', { labels: keep })
      await snapshotter.prepare(ctx, 'b', 'base', { labels: keep })
      await snapshotter.commit(ctx, 'middle', 'b', { labels: keep })
      await snapshotter.view(ctx, 'top', 'middle', { labels: keep })
      for (const parent of ['base', 'middle']) {
        assert.match((await failsWith('FailedPrecondition', () => snapshotter.remove(ctx, parent))).message, /remove/)
      }
      for (const key of ['top', 'middle']) await snapshotter.remove(ctx, key)
      await failsWith('NotFound', () => snapshotter.remove(ctx, 'top'))
      await snapshotter.prepare(ctx, 'top', '', { labels: keep })
      await snapshotter.remove(ctx, 'top')
      await snapshotter.view(ctx, 'top', '', { labels: keep })
      await snapshotter.remove(ctx, 'top')
      await snapshotter.prepare(ctx, 'top', 'base', { labels: keep })
      await snapshotter.commit(ctx, 'middle', 'top', { labels: keep })
      assert.equal((await snapshotter.stat(ctx, 'middle')).parent, 'base')
    })

    test('labels change as the field paths say, and nothing else does', async (snapshotter, ctx) => {
      await snapshotter.prepare(ctx, 'base key', '', { labels: keep })
      await snapshotter.commit(ctx, 'base', 'base key', { labels: keep })
      await snapshotter.prepare(ctx, 'a', 'base', { labels: { ...keep, one: '1', 'two.x/y': '2' } })
      const { createdAt } = await snapshotter.stat(ctx, 'a')
      const update = (labels: Record<string, string>, ...fieldpaths: string[]) =>
        stampedWithin(
          () => snapshotter.update(ctx, { name: 'a', labels: { ...keep, ...labels } }, fieldpaths),
          ({ updatedAt }) => [updatedAt],
        )
      assert.deepEqual((await update({ one: 'x', new: 'y' }, 'labels.one')).labels, { ...keep, one: 'x', 'two.x/y': '2' })
      assert.deepEqual((await update({ new: 'y' }, 'labels.two.x/y', 'labels.new')).labels, { ...keep, one: 'x', new: 'y' })
      assert.deepEqual((await update({ a: '1', none: '' })).labels, { ...keep, a: '1' })
      const info = await update({ b: '2' }, 'labels')
      assert.deepEqual(shape(info), { kind: 'active', name: 'a', parent: 'base', labels: { ...keep, b: '2' } })
      assert.deepEqual(info.createdAt, createdAt)
      assert.ok(compareTimestamps(info.updatedAt, createdAt) > 0)
      for (const path of ['parent', 'name', 'kind']) await failsWith('InvalidArgument', () => update({ c: '3' }, 'labels', path))
      assert.deepEqual(await snapshotter.stat(ctx, 'a'), info)
      await failsWith('NotFound', () => snapshotter.update(ctx, { name: 'missing', labels: {} }, []))
    })

    test('snapshots are listed by kind, name, parent and labels, and may be asked meanwhile', async (snapshotter, ctx) => {
      await snapshotter.prepare(ctx, 'a', '', { labels: keep })
      await snapshotter.commit(ctx, 'base', 'a', { labels: { ...keep, 'x/y': 'base' } })
      await snapshotter.prepare(ctx, 'a', 'base', { labels: { ...keep, 'x/y': 'active' } })
      await snapshotter.view(ctx, 'b', 'base', { labels: keep })
      await snapshotter.prepare(ctx, 'c', '', { labels: keep })
      const find = async (...filters: string[]) => (await collect(snapshotter.walk(ctx, filters))).map(({ name }) => name).sort()
      assert.deepEqual(await find(), ['a', 'b', 'base', 'c'])
      assert.deepEqual(await find('kind==active'), ['a', 'c'])
      assert.deepEqual(await find('kind==view', 'kind==committed'), ['b', 'base'])
      assert.deepEqual(await find('name==a', 'name==c'), ['a', 'c'])
      assert.deepEqual(await find('parent==base'), ['a', 'b'])
      assert.deepEqual(await find('parent!=""'), ['a', 'b'])
      assert.deepEqual(await find('labels."x/y"'), ['a', 'base'])
      assert.deepEqual(await find('labels."x/y"==base'), ['base'])
      assert.deepEqual(await find('kind==active,parent==base'), ['a'])
      await failsWith('InvalidArgument', () => collect(snapshotter.walk(ctx, ['kind=active'])))
      for await (const info of snapshotter.walk(ctx, [])) assert.deepEqual(await snapshotter.stat(ctx, info.name), info)
    })

    test('what is removed is cleaned up, and nothing else', async (snapshotter, ctx) => {
      await snapshotter.prepare(ctx, 'a', '', { labels: keep })
      await snapshotter.commit(ctx, 'base', 'a', { labels: keep })
      for (const key of ['kept', 'removed']) await snapshotter.prepare(ctx, key, 'base', { labels: keep })
      await snapshotter.view(ctx, 'view', 'base', { labels: keep })
      const mounts = await snapshotter.mounts(ctx, 'kept')
      await snapshotter.remove(ctx, 'removed')
      await snapshotter.cleanup?.(ctx)
      await failsWith('NotFound', () => snapshotter.stat(ctx, 'removed'))
      assert.deepEqual(await snapshotter.mounts(ctx, 'kept'), mounts)
      assert.deepEqual(await snapshotter.usage(ctx, 'view'), { inodes: 0, sizeBytes: 0 })
      for (const key of ['kept', 'view', 'base']) await snapshotter.remove(ctx, key)
      await snapshotter.cleanup?.(ctx)
      assert.deepEqual(await collect(snapshotter.walk(ctx, [])), [])
      await failsWith('NotFound', () => snapshotter.usage(ctx, 'base'))
    })

    test('much may happen at once', async (snapshotter, ctx) => {
      await snapshotter.prepare(ctx, 'a', '', { labels: keep })
      await snapshotter.commit(ctx, 'base', 'a', { labels: keep })
      const all = Array.from({ length: 20 }, (_, n) => n)
      await Promise.all(
        all.map(async (n) => {
          await snapshotter.prepare(ctx, `key ${n}`, 'base', { labels: keep })
          await snapshotter.commit(ctx, `name ${n}`, `key ${n}`, { labels: keep })
          await snapshotter.prepare(ctx, `key ${n}`, `name ${n}`, { labels: keep })
          if (n % 2 === 0) await snapshotter.remove(ctx, `key ${n}`)
        }),
      )
      // One of several commits under one name, one of several removals.
      for (const key of ['x', 'y']) await snapshotter.prepare(ctx, key, '', { labels: keep })
      const commits = await Promise.allSettled(['x', 'y'].map((key) => snapshotter.commit(ctx, 'one', key, { labels: keep })))
      assert.deepEqual(commits.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
      const removals = await Promise.allSettled([1, 2].map(() => snapshotter.remove(ctx, 'name 0')))
      assert.deepEqual(removals.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
      const names = (await collect(snapshotter.walk(ctx, []))).map(({ name }) => name)
      const expected = all.flatMap((n) => (n === 0 ? [] : n % 2 === 0 ? [`name ${n}`] : [`name ${n}`, `key ${n}`]))
      assert.deepEqual(names.filter((name) => / \d/.test(name)).sort(), expected.sort())
    })

    test('what is cancelled leaves its key free', async (snapshotter, ctx) => {
      const controller = new AbortController()
      controller.abort(new Error('enough'))
      const cancelled = { ...ctx, signal: controller.signal }
      await snapshotter.prepare(ctx, 'a', '', { labels: keep })
      await snapshotter.commit(ctx, 'base', 'a', { labels: keep })
      for (const make of [snapshotter.prepare, snapshotter.view]) {
        const made = await make.call(snapshotter, cancelled, 'key', 'base', { labels: keep }).catch(() => undefined)
        // A snapshotter may be done before it looks.
        if (made !== undefined) await snapshotter.remove(ctx, 'key')
        await make.call(snapshotter, ctx, 'key', 'base', { labels: keep })
        await snapshotter.remove(ctx, 'key')
      }
    })

    test('closing twice is fine', async (snapshotter) => {
      await snapshotter.close?.()
      await snapshotter.close?.()
    })

    const { mount } = options
    if (mount === undefined) return

    /** Prepares `key` on `parent`, lets `change` work on the tree, and commits it as `name`. */
    const layer = async (
      snapshotter: Snapshotter,
      ctx: Context,
      name: string,
      parent: string,
      change: (root: string) => Promise<void>,
    ) => {
      await mount(await snapshotter.prepare(ctx, `${name} key`, parent, { labels: keep }), change)
      await snapshotter.commit(ctx, name, `${name} key`, { labels: keep })
    }

    test('what is written is there in the next layer, and a view cannot be written', async (snapshotter, ctx) => {
      await layer(snapshotter, ctx, 'one', '', async (root) => {
        assert.equal((await stat(root)).mode & 0o777, 0o755)
        assert.deepEqual(await readdir(root), [])
        await writeFile(join(root, 'file'), 'one')
        await mkdir(join(root, 'directory'))
        await symlink('file', join(root, 'link'))
      })
      await layer(snapshotter, ctx, 'two', 'one', async (root) => {
        assert.equal(await readFile(join(root, 'link'), 'utf8'), 'one')
        await writeFile(join(root, 'file'), 'two')
        await writeFile(join(root, 'directory/inner'), 'two')
      })
      for (const [name, text, inner] of [
        ['one', 'one', []],
        ['two', 'two', ['inner']],
      ] as const) {
        await mount(await snapshotter.view(ctx, `${name} view`, name, { labels: keep }), async (root) => {
          assert.equal(await readFile(join(root, 'file'), 'utf8'), text)
          assert.deepEqual(await readdir(join(root, 'directory')), inner)
          await assert.rejects(writeFile(join(root, 'new'), 'x'), { code: 'EROFS' })
        })
      }
      await mount(await snapshotter.view(ctx, 'empty view', '', { labels: keep }), async (root) => {
        assert.deepEqual(await readdir(root), [])
      })
    })

    test('changes of all kinds survive the next layer', async (snapshotter, ctx) => {
      await layer(snapshotter, ctx, 'one', '', async (root) => {
        for (const name of ['owned', 'removed', 'moved', 'linked']) await writeFile(join(root, name), name)
        for (const name of ['mode', 'gone', 'into file', 'again', 'old name']) {
          await mkdir(join(root, name))
          await writeFile(join(root, name, 'inner'), name)
        }
      })
      await layer(snapshotter, ctx, 'two', 'one', async (root) => {
        await chown(join(root, 'owned'), 1, 2)
        await chown(join(root, 'mode'), 3, 4)
        await chmod(join(root, 'mode'), 0o1711)
        await rm(join(root, 'removed'))
        await rename(join(root, 'moved'), join(root, 'moved here'))
        await rename(join(root, 'old name'), join(root, 'new name')).catch(async () => {
          // An overlay may refuse to rename what is in a lower layer, as a move between filesystems.
          await mkdir(join(root, 'new name'))
          await writeFile(join(root, 'new name/inner'), 'old name')
          await rm(join(root, 'old name'), { recursive: true })
        })
        await rm(join(root, 'gone'), { recursive: true })
        await rm(join(root, 'into file'), { recursive: true })
        await writeFile(join(root, 'into file'), 'now a file')
        await rm(join(root, 'again'), { recursive: true })
        await mkdir(join(root, 'again'))
        await writeFile(join(root, 'again/other'), 'new')
        await chown(join(root, 'linked'), 5, 6)
        await link(join(root, 'linked'), join(root, 'linked too'))
      })
      await mount(await snapshotter.prepare(ctx, 'three', 'two', { labels: keep }), async (root) => {
        const names = ['again', 'into file', 'linked', 'linked too', 'mode', 'moved here', 'new name', 'owned']
        assert.deepEqual((await readdir(root)).sort(), names)
        const of = async (name: string) => {
          const { uid, gid, mode } = await lstat(join(root, name))
          return [uid, gid, mode & 0o7777]
        }
        assert.deepEqual((await of('owned')).slice(0, 2), [1, 2])
        assert.deepEqual(await of('mode'), [3, 4, 0o1711])
        for (const name of ['linked', 'linked too']) {
          assert.deepEqual((await of(name)).slice(0, 2), [5, 6])
          assert.equal(await readFile(join(root, name), 'utf8'), 'linked')
        }
        assert.equal(await readFile(join(root, 'mode/inner'), 'utf8'), 'mode')
        assert.equal(await readFile(join(root, 'into file'), 'utf8'), 'now a file')
        assert.deepEqual(await readdir(join(root, 'again')), ['other'])
        assert.deepEqual(await readdir(join(root, 'new name')), ['inner'])
        for (const name of ['removed', 'gone', 'moved']) await assert.rejects(lstat(join(root, name)), { code: 'ENOENT' })
      })
    })

    test('a file of a lower layer is moved, and a directory keeps its owner through all layers', async (snapshotter, ctx) => {
      await layer(snapshotter, ctx, 'one', '', async (root) => {
        for (const name of ['dir1', 'dir2', 'opt/a/b']) await mkdir(join(root, name), { recursive: true })
        await writeFile(join(root, 'dir1/f1'), 'f1')
        await writeFile(join(root, 'dir2/f2'), 'f2')
      })
      await layer(snapshotter, ctx, 'two', 'one', async (root) => {
        await chown(join(root, 'opt'), 1, 1)
        await chown(join(root, 'opt/a'), 2, 2)
      })
      await layer(snapshotter, ctx, 'three', 'two', async (root) => {
        await rename(join(root, 'dir1/f1'), join(root, 'dir2/f1'))
        await rm(join(root, 'dir2/f2'))
        await chmod(join(root, 'opt/a/b'), 0o500)
        await chown(join(root, 'opt/a/b'), 3, 3)
      })
      await layer(snapshotter, ctx, 'four', 'three', (root) => writeFile(join(root, 'opt/a/b/file'), ''))
      await mount(await snapshotter.view(ctx, 'view', 'four', { labels: keep }), async (root) => {
        assert.deepEqual(await readdir(join(root, 'dir1')), [])
        assert.deepEqual(await readdir(join(root, 'dir2')), ['f1'])
        assert.equal(await readFile(join(root, 'dir2/f1'), 'utf8'), 'f1')
        const owners = await Promise.all(['opt', 'opt/a', 'opt/a/b'].map((name) => stat(join(root, name))))
        assert.deepEqual(
          owners.map(({ uid, gid }) => [uid, gid]),
          [
            [1, 1],
            [2, 2],
            [3, 3],
          ],
        )
        assert.equal((owners[2]?.mode ?? 0) & 0o777, 0o500)
      })
      // Nothing of it is seen by those who stand on a lower layer.
      await mount(await snapshotter.view(ctx, 'view of one', 'one', { labels: keep }), async (root) => {
        assert.deepEqual(await readdir(join(root, 'dir1')), ['f1'])
        assert.equal((await stat(join(root, 'opt'))).uid, 0)
      })
    })

    if (options.rebase === true) {
      test('a snapshot without parent is given one by its commit', async (snapshotter, ctx) => {
        await layer(snapshotter, ctx, 'base', '', (root) => writeFile(join(root, 'of base'), ''))
        await layer(snapshotter, ctx, 'other', '', (root) => writeFile(join(root, 'of other'), ''))
        await mount(await snapshotter.prepare(ctx, 'key', '', { labels: keep }), (root) => writeFile(join(root, 'own'), ''))
        await failsWith('NotFound', () => snapshotter.commit(ctx, 'top', 'key', { labels: keep, parent: 'missing' }))
        await snapshotter.commit(ctx, 'top', 'key', { labels: keep, parent: 'base' })
        assert.equal((await snapshotter.stat(ctx, 'top')).parent, 'base')
        await failsWith('FailedPrecondition', () => snapshotter.remove(ctx, 'base'))
        await mount(await snapshotter.view(ctx, 'view', 'top', { labels: keep }), async (root) => {
          assert.deepEqual((await readdir(root)).sort(), ['of base', 'own'])
        })
        await snapshotter.prepare(ctx, 'key', 'base', { labels: keep })
        await failsWith('InvalidArgument', () => snapshotter.commit(ctx, 'moved', 'key', { labels: keep, parent: 'other' }))
        await snapshotter.commit(ctx, 'stayed', 'key', { labels: keep, parent: 'base' })
      })
    } else {
      test('a snapshot without parent is not given one by its commit', async (snapshotter, ctx) => {
        await layer(snapshotter, ctx, 'base', '', (root) => writeFile(join(root, 'of base'), ''))
        await snapshotter.prepare(ctx, 'key', '', { labels: keep })
        await failsWith('Unimplemented', () => snapshotter.commit(ctx, 'top', 'key', { labels: keep, parent: 'base' }))
        await snapshotter.commit(ctx, 'top', 'key', { labels: keep })
      })
    }

    test('usage counts what a snapshot itself takes, a file with many links once', async (snapshotter, ctx) => {
      const size = 256 * 1024
      await layer(snapshotter, ctx, 'one', '', async (root) => {
        await writeFile(join(root, 'file'), Buffer.alloc(size, 'x'))
      })
      const one = await snapshotter.usage(ctx, 'one')
      assert.ok(one.sizeBytes >= size && one.inodes >= 1, JSON.stringify(one))
      await layer(snapshotter, ctx, 'links', '', async (root) => {
        await writeFile(join(root, 'file'), Buffer.alloc(size, 'x'))
        for (let n = 0; n < 20; n++) await link(join(root, 'file'), join(root, `link ${n}`))
      })
      const links = await snapshotter.usage(ctx, 'links')
      assert.ok(links.sizeBytes >= size && links.sizeBytes < 2 * size, JSON.stringify(links))
      await mount(await snapshotter.prepare(ctx, 'active', '', { labels: keep }), async (root) => {
        const before = await snapshotter.usage(ctx, 'active')
        await writeFile(join(root, 'file'), Buffer.alloc(size, 'x'))
        const after = await snapshotter.usage(ctx, 'active')
        assert.ok(after.sizeBytes - before.sizeBytes >= size, JSON.stringify([before, after]))
      })
    })

    test('many layers are one tree', async (snapshotter, ctx) => {
      const count = 128
      let parent = ''
      for (let n = 0; n < count; n++) {
        const name = `/a/rather/long/name/as/paths/are/layer-${n}`
        await layer(snapshotter, ctx, name, parent, async (root) => {
          await writeFile(join(root, `file-${n}`), String(n))
          await writeFile(join(root, 'last'), String(n))
        })
        parent = name
      }
      await mount(await snapshotter.view(ctx, 'all', parent, { labels: keep }), async (root) => {
        assert.equal((await readdir(root)).length, count + 1)
        assert.equal(await readFile(join(root, 'last'), 'utf8'), String(count - 1))
        assert.equal(await readFile(join(root, 'file-0'), 'utf8'), '0')
      })
    })
  })
}

function shape({ kind, name, parent, labels }: SnapshotInfo) {
  return { kind, name, parent, labels }
}
