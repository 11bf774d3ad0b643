import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// The built package: its threads are files of their own.
import { type ApplyTarget, openArchive } from '@containerd-ts/archive'
import { unmountAll } from '@containerd-ts/mount'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { layer, streamOf } from '../layer.js'

let dir: string
const at = (name: string) => join(dir, name)

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-power-'))
  for (const name of ['disk', 'after']) mkdirSync(at(name))
  writeFileSync(at('image'), '')
  truncateSync(at('image'), 64 << 20)
  execFileSync('mkfs.ext4', ['-q', at('image')])
  execFileSync('mount', ['-o', 'loop', at('image'), at('disk')])
})
afterEach(async () => {
  for (const name of ['disk', 'after']) await unmountAll(at(name))
  rmSync(dir, { recursive: true })
})

const files = Array.from({ length: 200 }, (_, n) => ({ name: `d/${n}`, data: `content of ${n} `.repeat(100) }))

/** Unpacks onto a disk, and looks at what was on it when the promise settled. */
async function afterPowerCut(target: (root: string) => ApplyTarget, sync: boolean | undefined): Promise<boolean> {
  mkdirSync(join(at('disk'), 'root'))
  execFileSync('sync', ['-f', at('disk')])
  const archive = openArchive()
  await archive.apply(streamOf(layer(...files)), target(join(at('disk'), 'root')), { ...(sync !== undefined && { sync }) })
  // Nothing that is only in memory is in the file.
  execFileSync('cp', [at('image'), at('copy')])
  await archive.close()
  execFileSync('mount', ['-o', 'loop', at('copy'), at('after')])
  return files.every(({ name, data }) => {
    const path = join(at('after'), 'root', name)
    return existsSync(path) && readFileSync(path, 'utf8') === data
  })
}

describe.runIf(process.getuid?.() === 0)('a power cut after a layer was unpacked', () => {
  test.each<[string, (root: string) => ApplyTarget]>([
    ['a directory', (path) => ({ kind: 'directory', path })],
    ['an upper directory', (upper) => ({ kind: 'overlay', upper, lowers: [] })],
    [
      'a mount',
      (source) => ({
        kind: 'mounts',
        tempRoot: at('tmp'),
        mounts: [{ type: 'bind', source, target: '', options: ['rbind', 'rw'] }],
      }),
    ],
  ])('leaves %s whole', async (_, target) => {
    expect(await afterPowerCut(target, undefined)).toBe(true)
  })

  test('may leave it half written where that is allowed', async () => {
    expect(await afterPowerCut((path) => ({ kind: 'directory', path }), false)).toBe(false)
  })
})
