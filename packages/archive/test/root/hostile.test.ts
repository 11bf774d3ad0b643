import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
// The built package: its threads are files of their own.
import { type ApplyTarget, type Archive, openArchive } from '@containerd-ts/archive'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { checkFor } from '../bounded.js'
import { attacks } from '../hostile.js'
import { directory, type Entry, hardlink, layer, streamOf, symlink } from '../layer.js'

const fuzzMs = 6000
let archive: Archive
let dir: string
let outside: string
let before: string

beforeAll(() => {
  archive = openArchive()
})
afterAll(() => archive.close())
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-hostile-'))
  outside = join(dir, 'outside')
  mkdirSync(outside, { mode: 0o751 })
  mkdirSync(join(outside, 'inner'))
  writeFileSync(join(outside, 'victim'), 'untouched', { mode: 0o640 })
  before = state()
})
afterEach(() => rmSync(dir, { recursive: true }))

/** All that an attack could have changed. */
function state(): string {
  return ['.', 'victim', 'inner']
    .map((name) => {
      const { mode, uid, gid, nlink, mtimeMs, ctimeMs } = lstatSync(join(outside, name))
      return [name, mode, uid, gid, nlink, mtimeMs, ctimeMs].join(' ')
    })
    .concat(readFileSync(join(outside, 'victim'), 'utf8'), readdirSync(outside).sort())
    .join('\n')
}

/** A fresh target of every kind. */
function targets(): ApplyTarget[] {
  const fresh = () => mkdtempSync(join(dir, 'root-'))
  const bound = fresh()
  return [
    { kind: 'directory', path: fresh() },
    { kind: 'overlay', upper: fresh(), lowers: [outside, fresh()] },
    {
      kind: 'mounts',
      tempRoot: join(dir, 'tmp'),
      mounts: [{ type: 'bind', source: bound, target: '', options: ['rbind', 'rw'] }],
    },
  ]
}

/** Unpacks; gives back what was wrong, undefined when nothing was. */
async function outcome(bytes: Buffer, target: ApplyTarget): Promise<Error | undefined> {
  const limit = new Promise<Error>((resolve) => setTimeout(() => resolve(new Error('it hangs')), 20_000).unref())
  const applied = archive.apply(streamOf(bytes, 4096), target, { sync: false }).then(
    () => undefined,
    (error: Error) => error,
  )
  return Promise.race([applied, limit])
}

function expectNothingElse(error: Error | undefined): void {
  // A program's own mistake would show as such.
  expect(['undefined', 'TarError', 'SystemError', 'Error', 'RangeError']).toContain(String(error?.name))
  expect(error?.message ?? '').not.toMatch(/hangs|undefined|is not a function|thread ended/)
  expect(state()).toBe(before)
}

describe.runIf(process.getuid?.() === 0)('hostile archives', () => {
  test.each(attacks.map((attack) => [attack.name, attack] as const))('%s', async (_, { entries }) => {
    const placed = (text: string | Buffer) =>
      Buffer.isBuffer(text)
        ? Buffer.from(text.toString('latin1').replaceAll('OUTSIDE', outside), 'latin1')
        : text.replaceAll('OUTSIDE', outside)
    const bytes = layer(
      ...entries.map(
        ({ link, ...entry }): Entry => ({
          ...entry,
          name: placed(entry.name),
          ...(link !== undefined && { link: String(placed(link)) }),
        }),
      ),
      { name: 'after', data: 'x' },
    )
    for (const target of targets()) expectNothingElse(await outcome(bytes, target))
    expect(
      readdirSync(dir)
        .filter((name) => !name.startsWith('root-'))
        .sort(),
    ).toEqual(['outside', 'tmp'])
  })

  test('entries whose owner or size cannot be are refused by name, and leave nothing', async () => {
    for (const entry of [
      { name: 'too/large', uid: 2 ** 40 },
      { name: 'too/large', size: 2 ** 52 },
    ]) {
      const root = mkdtempSync(join(dir, 'root-'))
      const error = await outcome(layer({ name: 'first' }, entry), { kind: 'directory', path: root })
      expect(error?.message).toMatch(/too\/large|unexpected EOF/)
      expect(readdirSync(root)).toEqual([])
    }
  })

  test('what was there before stays when an archive is refused', async () => {
    const root = mkdtempSync(join(dir, 'root-'))
    writeFileSync(join(root, 'mine'), 'x')
    chmodSync(root, 0o755)
    expect(await outcome(layer({ name: 'a' }, { name: 'b', type: 'Z' }), { kind: 'directory', path: root })).toBeDefined()
    expect(readFileSync(join(root, 'mine'), 'utf8')).toBe('x')
  })

  test('bombs end early: an endless header, an endless gzip, a million links', async () => {
    const target = (): ApplyTarget => ({ kind: 'directory', path: mkdtempSync(join(dir, 'root-')) })
    // A megabyte of nothing for each kilobyte; all of it is read for the digest and none of it kept.
    const zeros = gzipSync(Buffer.alloc(64 << 20))
    const rss = process.memoryUsage().rss
    expect(await outcome(zeros, target())).toBeUndefined()
    expect(process.memoryUsage().rss - rss).toBeLessThan(150e6)
    const chain = Array.from({ length: 300 }, (_, i) => symlink(`l${i}`, `l${i + 1}`))
    expect(String(await outcome(layer(...chain, { name: 'l0/f' }), target()))).toContain('ELOOP')
  })

  test('archives of random entries, and damaged ones, never reach outside, never hang and never confuse', async () => {
    const part = fc.constantFrom('a', 'b', 'c', '..', '.', '', 'l', '.wh.a', '.wh..wh..opq', '.wh.', 'victim', 'inner')
    const path = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
    const place = fc.oneof(
      path,
      path.map((rest) => `${outside}/${rest}`),
      path.map((rest) => `../outside/${rest}`),
    )
    const entry: fc.Arbitrary<Entry> = fc.oneof(
      fc.tuple(place, fc.string({ maxLength: 40 })).map(([name, data]) => ({ name, data })),
      place.map((name) => directory(`${name}/`)),
      fc.tuple(place, place).map(([name, link]) => symlink(name, link)),
      fc.tuple(place, place).map(([name, link]) => hardlink(name, link)),
      fc.tuple(place, fc.constantFrom('3', '4', '6', '7', 'g', 'V')).map(([name, type]) => ({ name, type, major: 1, minor: 3 })),
    )
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 })
    await checkFor(
      fuzzMs,
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 12 }), damage, fc.nat(2), async (entries, bytes, kind) => {
        // Names that no header has room for are refused where archives are written.
        const archiveBytes = layer(...entries)
        for (const [at, value] of bytes) archiveBytes[at % archiveBytes.length] = value
        const target = targets()[kind]
        if (target !== undefined) expectNothingElse(await outcome(archiveBytes, target))
      }),
    )
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir)
  })
})
