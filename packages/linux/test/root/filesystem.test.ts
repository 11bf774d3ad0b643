import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  decodeDevice,
  errorText,
  FilesystemType,
  FileType,
  filesystemOf,
  getXattr,
  listXattrs,
  makeNode,
  mount,
  removeXattr,
  setTimes,
  setXattr,
  unmount,
} from '../../src/index.js'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'linux-fs-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('extended attributes', () => {
  test('of any bytes and size, without following links', () => {
    const file = join(dir, 'file')
    writeFileSync(file, '')
    const value = Buffer.from(Array.from({ length: 2000 }, (_, i) => i % 256))
    setXattr(file, 'user.big', value)
    setXattr(file, 'user.empty', Buffer.alloc(0))
    expect(
      listXattrs(file)
        .filter((name) => name.startsWith('user.'))
        .sort(),
    ).toEqual(['user.big', 'user.empty'])
    expect(getXattr(file, 'user.big')?.equals(value)).toBe(true)
    expect(getXattr(file, 'user.empty')?.length).toBe(0)
    expect(getXattr(file, 'user.none')).toBeUndefined()
    removeXattr(file, 'user.big')
    expect(() => removeXattr(file, 'user.big')).toThrow('ENODATA')
    symlinkSync('file', join(dir, 'link'))
    expect(getXattr(join(dir, 'link'), 'user.empty')).toBeUndefined()
    expect(() => setXattr(join(dir, 'none'), 'user.x', Buffer.alloc(1))).toThrow(`ENOENT: lsetxattr '${join(dir, 'none')}'`)
    // The kernel would take another file for it.
    expect(() => getXattr(`${file}\0other`, 'user.x')).toThrow(TypeError)
  })
})

test.each([
  [0, 0],
  [1_700_000_000, 123_456_789],
  [-5, 1],
  [4_294_967_296, 999_999_999],
])('the time %d.%d is kept to the nanosecond, of a link and not of its target', (seconds, nanos) => {
  const file = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff])])
  writeFileSync(file, '')
  setTimes(file, { seconds: 1, nanos: 2 }, { seconds, nanos })
  const { atimeNs, mtimeNs } = lstatSync(file, { bigint: true })
  expect([atimeNs, mtimeNs]).toEqual([1_000_000_002n, BigInt(seconds) * 1_000_000_000n + BigInt(nanos)])
  symlinkSync(file, join(dir, 'link'))
  setTimes(join(dir, 'link'), { seconds: 9, nanos: 9 }, { seconds: 9, nanos: 9 })
  expect(lstatSync(file, { bigint: true }).atimeNs).toBe(1_000_000_002n)
})

test('errno in words', () => {
  expect([errorText(2), errorText(-16)]).toEqual(['no such file or directory', 'device or resource busy'])
})

describe.runIf(process.getuid?.() === 0)('as root', () => {
  test('devices of any number', () => {
    for (const device of [
      { major: 1, minor: 3 },
      { major: 259, minor: 70_000 },
      { major: 4095, minor: 1_048_575 },
    ]) {
      const path = join(dir, `${device.major}`)
      makeNode(path, FileType.Block | 0o600, device)
      expect(decodeDevice(lstatSync(path, { bigint: true }).rdev)).toEqual(device)
      expect(lstatSync(path).isBlockDevice()).toBe(true)
    }
  })

  test('mount, statfs, unmount', async () => {
    await mount({ source: 'tmpfs', target: dir, type: 'tmpfs', data: 'size=64k' })
    expect(filesystemOf(dir).type).toBe(FilesystemType.Tmpfs)
    await unmount(dir)
    expect(filesystemOf(dir).type).not.toBe(FilesystemType.Tmpfs)
    await expect(unmount(dir)).rejects.toMatchObject({ code: 'EINVAL', syscall: 'umount2' })
    await expect(mount({ target: dir, type: 'nosuchfs' })).rejects.toMatchObject({ code: 'ENODEV' })
  })

  test('root, mounts and umask of a thread are its own', async () => {
    mkdirSync(join(dir, 'm'))
    const code = `
      const { parentPort, workerData: { dist, dir } } = require('node:worker_threads')
      const fs = require('node:fs')
      import(dist).then((linux) => {
        linux.unshare(linux.Unshare.Mounts)
        linux.mountSync({ target: '/', flags: linux.MountFlag.Slave | linux.MountFlag.Recursive })
        linux.setUmask(0)
        linux.mountSync({ source: 'tmpfs', target: dir + '/m', type: 'tmpfs' })
        linux.changeDirectory(dir)
        linux.changeRoot('.')
        fs.writeFileSync('/m/inside', '')
        fs.writeFileSync('/../../outside', '', { mode: 0o666 })
        parentPort.postMessage(fs.readdirSync('/m'))
      })`
    const worker = new Worker(code, {
      eval: true,
      workerData: { dist: new URL('../../dist/index.js', import.meta.url).href, dir },
    })
    const seen = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    expect(seen).toEqual(['inside'])
    expect(readdirSync(join(dir, 'm'))).toEqual([])
    expect(lstatSync(join(dir, 'outside')).mode & 0o777).toBe(0o666)
    expect(existsSync('/outside')).toBe(false)
    await worker.terminate()
  })
})
