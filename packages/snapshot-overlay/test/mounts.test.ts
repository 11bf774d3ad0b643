import { chown, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background, type Snapshotter } from '@containerd-ts/interface'
import { mountAll, readMountInfo, withTempMount } from '@containerd-ts/mount'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { detectOverlay, mapsOverlays } from '../src/detect.js'
import { openOverlaySnapshotter } from '../src/snapshotter.js'

const ctx = background()
let root: string
let snapshotter: Snapshotter

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'overlay-'))
  snapshotter = await openOverlaySnapshotter(root, { mountOptions: ['index=off'] })
})
afterEach(async () => {
  await snapshotter.close?.()
  await rm(root, { recursive: true })
})

const layer = async (name: string, parent = '') => {
  await snapshotter.prepare(ctx, `${name} key`, parent)
  await snapshotter.commit(ctx, name, `${name} key`)
}
const dir = (id: number, part = 'fs') => join(root, 'snapshots', String(id), part)

describe.runIf(process.getuid?.() === 0)('overlay (needs root to own directories)', () => {
  test('the mounts are exactly as containerd makes them', async () => {
    expect(await snapshotter.prepare(ctx, 'alone', '')).toEqual([
      { type: 'bind', source: dir(1), target: '', options: ['rw', 'rbind'] },
    ])
    expect(await snapshotter.view(ctx, 'empty', '')).toEqual([
      { type: 'bind', source: dir(2), target: '', options: ['ro', 'rbind'] },
    ])
    await layer('one')
    await layer('two', 'one')
    expect(await snapshotter.view(ctx, 'view one', 'one')).toEqual([
      { type: 'bind', source: dir(3), target: '', options: ['ro', 'rbind'] },
    ])
    expect(await snapshotter.view(ctx, 'view two', 'two')).toEqual([
      { type: 'overlay', source: 'overlay', target: '', options: [`lowerdir=${dir(4)}:${dir(3)}`, 'index=off'] },
    ])
    const active = await snapshotter.prepare(ctx, 'active', 'two')
    const options = [`workdir=${dir(7, 'work')}`, `upperdir=${dir(7)}`, `lowerdir=${dir(4)}:${dir(3)}`, 'index=off']
    expect(active).toEqual([{ type: 'overlay', source: 'overlay', target: '', options }])
    expect(await snapshotter.mounts(ctx, 'active')).toEqual(active)
  })

  test('modes do not depend on the umask, owners come from the parent or from the mapping', async () => {
    const umask = process.umask(0o077)
    try {
      await snapshotter.prepare(ctx, 'a', '')
    } finally {
      process.umask(umask)
    }
    expect((await stat(dir(1))).mode & 0o7777).toBe(0o755)
    expect((await stat(dir(1, 'work'))).mode & 0o7777).toBe(0o711)
    await chown(dir(1), 100, 200)
    await snapshotter.commit(ctx, 'base', 'a')
    await snapshotter.prepare(ctx, 'child', 'base')
    expect(await stat(dir(2))).toMatchObject({ uid: 100, gid: 200 })
    const labels = { 'containerd.io/snapshot/uidmapping': '0:1000:65536', 'containerd.io/snapshot/gidmapping': '0:2000:65536' }
    await snapshotter.prepare(ctx, 'mapped', 'base', { labels })
    expect(await stat(dir(3))).toMatchObject({ uid: 1000, gid: 2000 })
    await expect(
      snapshotter.prepare(ctx, 'bad', '', { labels: { 'containerd.io/snapshot/uidmapping': '0:x:1' } }),
    ).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
  })

  test('what a daemon has left that was killed while it tried overlayfs is taken away', async () => {
    const trial = join(root, 'check-overlayfs-left')
    for (const name of ['lower', 'upper', 'work', 'merged']) await mkdir(join(trial, name), { recursive: true })
    const options = [`lowerdir=${trial}/lower`, `upperdir=${trial}/upper`, `workdir=${trial}/work`]
    await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], join(trial, 'merged'))
    const detected = await detectOverlay(root)
    expect(detected).toHaveProperty('options')
    expect((await readdir(root)).filter((name) => name.startsWith('check-'))).toEqual([])
    expect((await readMountInfo()).filter(({ mountPoint }) => mountPoint.startsWith(root))).toEqual([])
  })

  test('owners are translated by the mounts where that is offered and the labels ask for it', async () => {
    await snapshotter.close?.()
    snapshotter = await openOverlaySnapshotter(root, { remapIds: true })
    await withTempMount(await snapshotter.prepare(ctx, 'a', ''), {}, (tree) => writeFile(join(tree, 'file'), ''))
    await snapshotter.commit(ctx, 'base', 'a')
    const labels = { 'containerd.io/snapshot/uidmapping': '0:1000:65536', 'containerd.io/snapshot/gidmapping': '0:2000:65536' }
    const maps = ['uidmap=0:1000:65536', 'gidmap=0:2000:65536']
    const mounts = await snapshotter.prepare(ctx, 'mapped', 'base', { labels })
    const options = [...maps, `workdir=${dir(2, 'work')}`, `upperdir=${dir(2)}`, `lowerdir=${dir(1)}`]
    expect(mounts).toEqual([{ type: 'overlay', source: 'overlay', target: '', options }])
    await withTempMount(mounts, {}, async (tree) => {
      for (const name of ['.', 'file']) expect(await stat(join(tree, name))).toMatchObject({ uid: 1000, gid: 2000 })
    })
    expect((await snapshotter.view(ctx, 'view', 'base', { labels }))[0]?.options).toEqual([...maps, 'ro', 'rbind'])
    expect(
      (await snapshotter.prepare(ctx, 'one label', 'base', { labels: { 'containerd.io/snapshot/uidmapping': '0:1:1' } }))[0]
        ?.options,
    ).not.toContain('uidmap=0:1:1')
    expect([mapsOverlays('5.18.9'), mapsOverlays('5.19.0-1-amd64'), mapsOverlays('6.1.0')]).toEqual([false, true, true])
  })

  test('directories of removed snapshots go with the clean-up, or at the next start', async () => {
    await snapshotter.prepare(ctx, 'a', '')
    await snapshotter.prepare(ctx, 'b', '')
    await snapshotter.remove(ctx, 'a')
    expect((await readdir(join(root, 'snapshots'))).sort()).toEqual(['1', '2'])
    await snapshotter.cleanup?.(ctx)
    expect(await readdir(join(root, 'snapshots'))).toEqual(['2'])
    await snapshotter.remove(ctx, 'b')
    await snapshotter.close?.()
    snapshotter = await openOverlaySnapshotter(root)
    await vi.waitFor(async () => expect(await readdir(join(root, 'snapshots'))).toEqual([]))
  })
})
