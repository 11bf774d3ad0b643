import { execFileSync } from 'node:child_process'
import { appendFile, mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { snapshotterSuite } from '@containerd-ts/conformance/snapshots'
import { background, type Snapshotter } from '@containerd-ts/interface'
import { withTempMount } from '@containerd-ts/mount'
import { load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { afterAll, describe, expect, it, test, vi } from 'vitest'
import { btrfsSnapshotter } from '../../src/index.js'
import { openBtrfsSnapshotter } from '../../src/snapshotter.js'
import { makeBtrfsDisk } from './btrfs-disk.js'

const disk = makeBtrfsDisk()
if ('reason' in disk) console.log(`no btrfs to test on: ${disk.reason}`)
const path = 'path' in disk ? disk.path : ''
const ctx = background()

afterAll(() => {
  if ('path' in disk) disk.remove()
})

describe.runIf('path' in disk)('btrfs', () => {
  snapshotterSuite(
    { describe, it },
    async () => {
      const snapshotter = await openBtrfsSnapshotter(await mkdtemp(join(path, 'suite-')))
      return { snapshotter, ctx, close: async () => snapshotter.close?.() }
    },
    { mount: (mounts, use) => withTempMount(mounts, {}, use) },
  )

  test('the mounts are exactly as containerd makes them, and what a crash has left goes', async () => {
    const root = await mkdtemp(join(path, 'layout-'))
    let snapshotter: Snapshotter = await openBtrfsSnapshotter(root)
    const [mount] = await snapshotter.prepare(ctx, 'a', '')
    const source = execFileSync('findmnt', ['-no', 'SOURCE', path], { encoding: 'utf8' }).trim()
    expect(mount).toEqual({ type: 'btrfs', source, target: '', options: [expect.stringMatching(/^subvolid=\d+$/)] })
    const listed = execFileSync('btrfs', ['subvolume', 'list', path], { encoding: 'utf8' })
    const id = mount?.options[0]?.slice('subvolid='.length)
    expect(listed).toMatch(new RegExp(`^ID ${id} .*/active/1$`, 'm'))
    await snapshotter.commit(ctx, 'base', 'a')
    const [view] = await snapshotter.view(ctx, 'v', 'base')
    expect(view?.options).toEqual([expect.stringMatching(/^subvolid=/), 'ro'])
    const layout = async () =>
      Object.fromEntries(
        await Promise.all(['active', 'view', 'snapshots'].map(async (d) => [d, (await readdir(join(root, d))).sort()])),
      )
    expect(await layout()).toEqual({ active: [], view: ['2'], snapshots: ['1'] })

    // Killed after a commit's subvolume was made and before the record; after the record and before the active one was deleted; while
    // one was made; and something that is no subvolume.
    await snapshotter.prepare(ctx, 'b', 'base')
    await snapshotter.close?.()
    const btrfs = (...args: string[]) => execFileSync('btrfs', ['subvolume', ...args], { cwd: root, stdio: 'ignore' })
    btrfs('snapshot', '-r', 'active/3', 'snapshots/3')
    btrfs('snapshot', 'snapshots/1', 'active/1')
    btrfs('create', 'active/77')
    await mkdir(join(root, 'view/78/in'), { recursive: true })
    snapshotter = await openBtrfsSnapshotter(root)
    await vi.waitFor(async () => expect(await layout()).toEqual({ active: ['3'], view: ['2'], snapshots: ['1'] }))
    await snapshotter.commit(ctx, 'top', 'b')
    expect(await layout()).toEqual({ active: [], view: ['2'], snapshots: ['1', '3'] })
    await snapshotter.close?.()
  })

  test('a subvolume that a container has made goes with its snapshot', async () => {
    const root = await mkdtemp(join(path, 'nested-'))
    const snapshotter = await openBtrfsSnapshotter(root)
    await withTempMount(await snapshotter.prepare(ctx, 'a', ''), {}, async (tree) => {
      execFileSync('btrfs', ['subvolume', 'create', join(tree, 'nested')], { stdio: 'ignore' })
      await writeFile(join(tree, 'nested/file'), '')
    })
    await snapshotter.remove(ctx, 'a')
    expect(await readdir(join(root, 'active'))).toEqual([])
    await snapshotter.close?.()
  })

  test('an unfinished layer is not seen by those who stand on its parent, and usage is that of the changes', async () => {
    const root = await mkdtemp(join(path, 'usage-'))
    const snapshotter = await openBtrfsSnapshotter(root)
    await withTempMount(await snapshotter.prepare(ctx, 'a', ''), {}, async (tree) => {
      await writeFile(join(tree, 'large'), Buffer.alloc(1 << 20, 'x'))
      await writeFile(join(tree, 'small'), 'x')
    })
    await snapshotter.commit(ctx, 'base', 'a')
    await withTempMount(await snapshotter.prepare(ctx, 'b', 'base'), {}, (tree) => appendFile(join(tree, 'small'), 'more'))
    const usage = await snapshotter.usage(ctx, 'b')
    expect(usage.sizeBytes).toBeLessThan(1 << 19)
    expect(usage.inodes).toBe(1)
    await withTempMount(await snapshotter.view(ctx, 'v', 'base'), {}, async (tree) => {
      expect(await readFile(join(tree, 'small'), 'utf8')).toBe('x')
    })
    await snapshotter.close?.()
  })
})

test('elsewhere the plugin skips itself and says why', async () => {
  const set = await load([btrfsSnapshotter], { root: '/proc', state: '/s', log: silentLogger })
  const [status] = set.plugins()
  expect(status?.error?.message).toMatch(/must be a btrfs filesystem to be used with the btrfs snapshotter/)
  expect(set.getAll(PluginType.Snapshotter).size).toBe(0)
})
