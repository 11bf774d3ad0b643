import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// The built package: its thread is a file of its own.
import {
  cleanupTempMounts,
  type Mount,
  mountAll,
  mountsBelow,
  unmount,
  unmountAll,
  unmountMounts,
  unmountRecursive,
  withTempMount,
} from '@containerd-ts/mount'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mount-'))
  for (const name of ['target', 'source']) mkdirSync(join(dir, name))
})
afterEach(async () => {
  await unmountRecursive(dir)
  expect(await mountsBelow(dir)).toEqual([])
  rmSync(dir, { recursive: true })
})

const bind = (...options: string[]): Mount => ({
  type: 'bind',
  source: join(dir, 'source'),
  target: '',
  options: ['rbind', ...options],
})
const tmpfs = (target = ''): Mount => ({ type: 'tmpfs', source: 'tmpfs', target, options: ['size=64k'] })

describe.runIf(process.getuid?.() === 0)('mountAll', () => {
  const target = () => join(dir, 'target')

  test('a read-only bind mount is read-only', async () => {
    writeFileSync(join(dir, 'source/file'), 'x')
    await mountAll([bind('ro')], target())
    expect(readFileSync(join(target(), 'file'), 'utf8')).toBe('x')
    expect(() => writeFileSync(join(target(), 'file'), 'y')).toThrow('EROFS')
    writeFileSync(join(dir, 'source/file'), 'y')
  })

  test('one below another, links confined to the target', async () => {
    mkdirSync(join(dir, 'source/etc'))
    symlinkSync('/etc', join(dir, 'source/link'))
    const mounts = [bind('rw'), tmpfs('link')]
    await mountAll(mounts, target())
    expect((await mountsBelow(dir)).map((m) => m.mountPoint)).toEqual([join(target(), 'etc'), target()])
    await unmountMounts(mounts, target())
    expect(await mountsBelow(dir)).toEqual([])
  })

  test('128 layers, more than fit into a page, without changing the directory of the process', async () => {
    const layers = Array.from({ length: 128 }, (_, i) => join(dir, 'a-rather-long-name-for-a-directory', String(i), 'fs'))
    for (const [i, layer] of layers.entries()) {
      mkdirSync(layer, { recursive: true })
      writeFileSync(join(layer, `file${i}`), '')
      writeFileSync(join(layer, 'same'), String(i))
    }
    const cwd = process.cwd()
    await mountAll([{ type: 'overlay', source: 'overlay', target: '', options: [`lowerdir=${layers.join(':')}`] }], target())
    expect(readdirSync(target()).length).toBe(129)
    expect(readFileSync(join(target(), 'same'), 'utf8')).toBe('0')
    expect(process.cwd()).toBe(cwd)
    const broken = [...layers, join(dir, 'a-rather-long-name-for-a-directory', 'none')]
    await expect(
      mountAll([{ type: 'overlay', source: 'overlay', target: '', options: [`lowerdir=${broken.join(':')}`] }], target()),
    ).rejects.toMatchObject({ name: 'MountError', code: 'ENOENT' })
  })

  test('a failure names everything, and undoes what was done when asked to', async () => {
    const wrong: Mount = { type: 'nosuchfs', source: 'none', target: '', options: ['a=b', 'ro'] }
    await expect(mountAll([tmpfs(), wrong], target(), { undo: true })).rejects.toMatchObject({
      code: 'ENODEV',
      message: `mount source: "none", target: "${target()}", fstype: nosuchfs, flags: 1, data: "a=b", err: no such device`,
    })
    expect(await mountsBelow(dir)).toEqual([])
    await expect(mountAll([tmpfs(), wrong], target())).rejects.toThrow()
    expect((await mountsBelow(dir)).length).toBe(1)
  })

  test('owners are translated, of a bound tree and of the lower directories of an overlay', async () => {
    const maps = ['uidmap=0:100000:65536', 'gidmap=0:200000:1,1:300000:100']
    const owner = (...path: string[]) => {
      const { uid, gid } = lstatSync(join(target(), ...path))
      return [uid, gid]
    }
    writeFileSync(join(dir, 'source/file'), '')
    chownSync(join(dir, 'source/file'), 5, 6)
    await mountAll([bind('rw', ...maps)], target())
    expect([owner('file'), owner()]).toEqual([
      [100_005, 300_005],
      [100_000, 200_000],
    ])
    expect((await mountsBelow(target())).length).toBe(1)
    chmodSync(dir, 0o755)
    // One of the container's own ids writes what is root's on disk.
    const rootsOwn = ['setpriv', ['--reuid=100000', '--regid=200000', '--clear-groups', 'touch', join(target(), 'new')]] as const
    execFileSync(...rootsOwn)
    expect([lstatSync(join(dir, 'source/new')).uid, owner('new')]).toEqual([0, [100_000, 200_000]])
    await unmountAll(target())
    await mountAll([bind('ro', ...maps)], target())
    expect(owner('file')).toEqual([5, 6])
    await unmountAll(target())

    for (const count of [1, 2, 60]) {
      const layers = Array.from({ length: count }, (_, n) => join(dir, `layers-${count}/a-rather-long-name-for-a-layer/${n}/fs`))
      for (const [n, layer] of layers.entries()) {
        mkdirSync(layer, { recursive: true })
        writeFileSync(join(layer, `file-${n}`), '')
      }
      const [upper, work] = ['upper', 'work'].map((name) => join(dir, `${name}-${count}`)) as [string, string]
      for (const path of [upper, work]) mkdirSync(path)
      const options = [...maps, `workdir=${work}`, `upperdir=${upper}`, `lowerdir=${layers.join(':')}`, 'index=off']
      await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], target())
      for (let n = 0; n < count; n++) expect(owner(`file-${n}`)).toEqual([100_000, 200_000])
      await unmountAll(target())
    }
    await expect(mountAll([bind('rw', 'uidmap=0:x:1', 'gidmap=0:1:1')], target())).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('ovl-idmapped'))).toEqual([])
  })

  test('what it does not do, it refuses', async () => {
    for (const mount of [bind('loop'), { ...bind(), type: 'fuse3.x' }]) {
      await expect(mountAll([mount], target())).rejects.toMatchObject({ code: 'Unimplemented' })
    }
  })
})

describe.runIf(process.getuid?.() === 0)('unmounting', () => {
  test('stacked mounts, and what is not mounted', async () => {
    const target = join(dir, 'target')
    for (let i = 0; i < 3; i++) await mountAll([tmpfs()], target)
    expect(await unmount(target)).toBe(true)
    await unmountAll(target)
    expect(await unmount(target)).toBe(false)
    await unmountAll(join(dir, 'none'))
    await unmountAll('')
    await unmountRecursive(join(dir, 'none'))
  })

  test('waits for what is busy', async () => {
    const target = join(dir, 'target')
    await mountAll([tmpfs()], target)
    mkdirSync(join(target, 'in'))
    const cwd = process.cwd()
    process.chdir(join(target, 'in'))
    setTimeout(() => process.chdir(cwd), 120)
    expect(await unmount(target)).toBe(true)
  })

  test('nested mounts, deepest first', async () => {
    await mountAll([tmpfs()], join(dir, 'target'))
    mkdirSync(join(dir, 'target/a/b'), { recursive: true })
    await mountAll([tmpfs()], join(dir, 'target/a'))
    mkdirSync(join(dir, 'target/a/b'))
    await mountAll([tmpfs()], join(dir, 'target/a/b'))
    await unmountRecursive(join(dir, 'target'))
    expect(await mountsBelow(dir)).toEqual([])
  })
})

describe.runIf(process.getuid?.() === 0)('temporary mounts', () => {
  test('are gone afterwards, also when the use fails, and no data with them', async () => {
    writeFileSync(join(dir, 'source/file'), 'kept')
    const root = join(dir, 'temp')
    const seen = await withTempMount([bind('rw')], { root, readonly: true }, async (path) => {
      expect(() => writeFileSync(join(path, 'x'), '')).toThrow('EROFS')
      return readdirSync(path)
    })
    expect(seen).toEqual(['file'])
    await expect(
      withTempMount([bind('rw')], { root }, async () => {
        throw new Error('failed')
      }),
    ).rejects.toThrow('failed')
    await expect(withTempMount([bind('rw'), { ...bind(), source: '/none' }], { root }, async () => {})).rejects.toThrow(
      'mount source',
    )
    expect(readdirSync(root)).toEqual([])
    expect(existsSync(join(dir, 'source/file'))).toBe(true)
  })

  test('of an earlier run are detached, and their directories removed when empty', async () => {
    const root = join(dir, 'temp')
    for (const name of ['containerd-mount1', 'containerd-mount2', 'other']) mkdirSync(join(root, name), { recursive: true })
    await mountAll([bind('rw')], join(root, 'containerd-mount1'))
    writeFileSync(join(root, 'containerd-mount2/data'), 'kept')
    await cleanupTempMounts(root)
    expect(readdirSync(root).sort()).toEqual(['containerd-mount2', 'other'])
    expect(await mountsBelow(dir)).toEqual([])
    await cleanupTempMounts(join(dir, 'none'))
  })
})
