import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// The built package: its threads are files of their own.
import { type Archive, openArchive } from '@containerd-ts/archive'
import { type Mount, mountAll, unmountAll } from '@containerd-ts/mount'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { overlayGuide } from '../../src/overlay-guide.js'
import { checkFor } from '../bounded.js'

let archive: Archive
let dir: string

beforeAll(() => {
  archive = openArchive()
})
afterAll(() => archive.close())
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-overlay-'))
  for (const name of ['base', 'middle', 'merged', 'shown', 'tmp']) mkdirSync(join(dir, name))
  execFileSync('bash', ['-euc', planted], { cwd: join(dir, 'base') })
})
afterEach(async () => {
  for (const name of ['merged', 'shown']) await unmountAll(join(dir, name))
  rmSync(dir, { recursive: true })
})

const planted = `mkdir -p a/b/c d e/f g; for f in a/1 a/2 a/b/1 a/b/c/1 d/1 d/2 e/f/1 top; do echo $f > $f; done
  ln top linked; ln d/1 g/same; ln -s top l; mkfifo p; find . -exec touch -hd @1600000000 {} +`

const overlay = (options: string[]): Mount => ({
  type: 'overlay',
  source: 'overlay',
  target: '',
  options: [...options, 'index=off'],
})

async function layerOf(lower: readonly Mount[], upper: readonly Mount[]): Promise<string> {
  const comparison = archive.compare(lower, upper, { tempRoot: join(dir, 'tmp') })
  for await (const _ of comparison.bytes);
  return (await comparison.result).digest
}

/** The layer of changes to an overlay, found by its upper directory and by a walk through everything. */
async function bothWays(round: number, script: string): Promise<[string, string]> {
  const [upper, work] = [join(dir, `upper-${round}`), join(dir, `work-${round}`)]
  for (const path of [upper, work]) mkdirSync(path)
  const lowerdir = `lowerdir=${dir}/middle:${dir}/base`
  const changed = [overlay([`workdir=${work}`, `upperdir=${upper}`, lowerdir])]
  const unchanged = [overlay([lowerdir])]
  expect(overlayGuide(unchanged, changed)).toBe(upper)
  await mountAll(changed, join(dir, 'merged'))
  execFileSync('bash', ['-c', `${script}\ntrue`], { cwd: join(dir, 'merged'), stdio: 'ignore' })
  await unmountAll(join(dir, 'merged'))
  await mountAll(unchanged, join(dir, 'shown'))
  const walked = [{ type: 'bind', source: join(dir, 'shown'), target: '', options: ['rbind', 'ro'] }]
  expect(overlayGuide(walked, changed)).toBeUndefined()
  const digests: [string, string] = [await layerOf(unchanged, changed), await layerOf(walked, changed)]
  await unmountAll(join(dir, 'shown'))
  return digests
}

describe.runIf(process.getuid?.() === 0)('the changes of an overlay, found by its upper directory', () => {
  test('are those that a walk through everything finds, whatever has been done', async () => {
    const names = [
      'a',
      'a/1',
      'a/2',
      'a/b',
      'a/b/1',
      'a/b/c',
      'd',
      'd/1',
      'e',
      'e/f',
      'g',
      'g/same',
      'top',
      'linked',
      'l',
      'new',
      'a/new',
      'new/in',
    ]
    const name = fc.constantFrom(...names)
    const step = fc.oneof(
      name.map((n) => `echo changed > ${n}`),
      name.map((n) => `rm -rf ${n}`),
      name.map((n) => `mkdir ${n}`),
      name.map((n) => `rm -rf ${n}; mkdir ${n}; echo again > ${n}/1`),
      name.map((n) => `chmod 700 ${n}`),
      name.map((n) => `chown -h 5:6 ${n}`),
      name.map((n) => `touch -h ${n}`),
      name.map((n) => `touch ${n}/..`),
      name.map((n) => `setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 ${n}`),
      fc.tuple(name, name).map(([a, b]) => `mv -T ${a} ${b}`),
      fc.tuple(name, name).map(([a, b]) => `ln ${a} ${b}`),
      fc.tuple(name, name).map(([a, b]) => `ln -sfT ${a} ${b}`),
    )
    let round = 0
    await checkFor(
      5000,
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
        const [guided, walked] = await bothWays(round++, steps.join('\n'))
        expect(guided).toBe(walked)
      }),
    )
    expect(round).toBeGreaterThan(5)
  })

  test('are only looked for there where the mounts say that all else is the same', () => {
    const upper = [overlay(['workdir=/w', 'upperdir=/u', 'lowerdir=/a:/b'])]
    const bind = (source: string): Mount => ({ type: 'bind', source, target: '', options: ['ro', 'rbind'] })
    expect(overlayGuide([overlay(['lowerdir=/a:/b'])], upper)).toBe('/u')
    expect(overlayGuide([bind('/a')], [overlay(['upperdir=/u', 'workdir=/w', 'lowerdir=/a'])])).toBe('/u')
    for (const lower of [
      [],
      [bind('/a')],
      [overlay(['lowerdir=/b:/a'])],
      [overlay(['lowerdir=/a'])],
      [overlay(['lowerdir=/a:/b', 'upperdir=/c'])],
    ])
      expect(overlayGuide(lower, upper)).toBeUndefined()
    for (const option of ['index=on', 'redirect_dir=on', 'metacopy=on'])
      expect(overlayGuide([overlay(['lowerdir=/a'])], [overlay(['upperdir=/u', 'lowerdir=/a', option])])).toBeUndefined()
    expect(overlayGuide([bind('/a')], [bind('/b')])).toBeUndefined()
  })
})
