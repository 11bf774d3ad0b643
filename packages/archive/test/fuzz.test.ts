import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTarReader, TarError, tarEntries } from '../src/index.js'
import { formatPaxRecord } from '../src/pax-records.js'
import { checkFor } from './bounded.js'

// Bounded in time; by hand a longer run may be worth it.
const fuzzMs = Number(process.env['FUZZ_MS'] ?? 4000)
let seeds: Buffer[]

// Archives of every dialect that GNU tar writes, whose bytes are then changed.
beforeAll(() => {
  const dir = mkdtempSync(join(tmpdir(), 'archive-fuzz-'))
  const tree = join(dir, 'tree')
  mkdirSync(join(tree, `${'long-name/'.repeat(14)}`), { recursive: true })
  writeFileSync(join(tree, 'file'), 'x'.repeat(700))
  symlinkSync('l'.repeat(130), join(tree, 'link'))
  writeFileSync(join(tree, 'sparse'), 'start')
  truncateSync(join(tree, 'sparse'), 200_000)
  const formats = [
    ['--format=ustar', '--exclude=link'],
    ['--format=gnu', '--sparse'],
    ['--format=oldgnu'],
    ...['0.0', '0.1', '1.0'].map((version) => ['--format=posix', '--sparse', `--sparse-version=${version}`]),
    ['--format=posix', '--owner=a:3000000000', '--mtime=@-5.25', '--pax-option=SCHILY.xattr.user.a=b'],
  ]
  seeds = formats.map((options) => execFileSync('tar', ['-C', tree, ...options, '-b1', '-cf', '-', '.']))
  rmSync(dir, { recursive: true })
})
afterAll(() => {
  seeds = []
})

/** Reads all of an archive; gives back what was wrong. Anything but a TarError is thrown. */
function readAll(bytes: Buffer, piece: number): string {
  let offset = 0
  let reads = 0
  const tar = createTarReader({
    read(max) {
      // Every call that gives bytes takes the reader further; one that gives none ends it.
      if (++reads > bytes.length * 2 + 1000) throw new Error('the reader does not end')
      const part = bytes.subarray(offset, offset + Math.min(max, piece))
      offset += part.length
      return part
    },
  })
  const seen: string[] = []
  try {
    for (let header = tar.next(); header !== undefined; header = tar.next()) {
      seen.push(`${header.name.toString('latin1')} ${header.type} ${header.size} ${header.storedSize}`)
      for (const value of [
        header.size,
        header.storedSize,
        header.mode,
        header.uid,
        header.gid,
        header.modified.seconds,
        header.modified.nanos,
      ])
        expect(Number.isSafeInteger(value)).toBe(true)
      let stored = 0
      for (const span of header.spans ?? []) {
        expect(span.offset + span.length).toBeLessThanOrEqual(header.size)
        stored += span.length
      }
      if (header.spans !== undefined) expect(stored).toBe(header.storedSize)
      while (tar.read(4096).length > 0);
    }
  } catch (error) {
    if (!(error instanceof TarError)) throw error
    seen.push(`! ${error.message}`)
  }
  return seen.join('\n')
}

async function streamAll(bytes: Buffer): Promise<string> {
  const seen: string[] = []
  try {
    for await (const { header } of tarEntries(
      (async function* () {
        yield bytes
      })(),
    ))
      seen.push(`${header.name.toString('latin1')} ${header.type} ${header.size} ${header.storedSize}`)
  } catch (error) {
    if (!(error instanceof TarError)) throw error
    seen.push(`! ${error.message}`)
  }
  return seen.join('\n')
}

/** Sets the checksum of every block that has one, so that damage gets past it. */
function withChecksums(bytes: Buffer): Buffer {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    const block = bytes.subarray(at, at + 512)
    if (block.toString('latin1', 257, 262) !== 'ustar') continue
    block.fill(0x20, 148, 156)
    const sum = block.reduce((total, byte) => total + byte, 0)
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  }
  return bytes
}

const interesting = fc.oneof(fc.nat(255), fc.constantFrom(0, 0x20, 0x2f, 0x2e, 0x30, 0x37, 0x38, 0x80, 0xff, 0x0a, 0x3d))
const damage = fc.array(
  fc.tuple(fc.nat(), fc.array(interesting, { minLength: 1, maxLength: 12 }), fc.constantFrom('set', 'cut', 'double')),
  { minLength: 1, maxLength: 6 },
)

test('damaged archives are read or refused, and in the same way however they come', async () => {
  await checkFor(
    fuzzMs,
    fc.asyncProperty(
      fc.nat(),
      damage,
      fc.boolean(),
      fc.integer({ min: 1, max: 1200 }),
      async (seed, changes, repaired, piece) => {
        let bytes: Buffer = Buffer.from(seeds[seed % seeds.length] ?? Buffer.alloc(0))
        for (const [place, values, kind] of changes) {
          const at = place % Math.max(1, bytes.length)
          if (kind === 'cut') bytes = bytes.subarray(0, at)
          else if (kind === 'double') bytes = Buffer.concat([bytes.subarray(0, at - (at % 512)), bytes])
          else for (const [i, value] of values.entries()) if (at + i < bytes.length) bytes[at + i] = value
        }
        if (repaired) bytes = withChecksums(bytes)
        const read = readAll(bytes, piece)
        expect(readAll(bytes, 1 << 20)).toBe(read)
        expect(await streamAll(bytes)).toBe(read)
      },
    ),
    500,
  )
})

test('extended records of any kind are read or refused', () => {
  const key = fc.constantFrom(
    'path',
    'linkpath',
    'size',
    'uid',
    'mtime',
    'atime',
    'GNU.sparse.major',
    'GNU.sparse.minor',
    'GNU.sparse.map',
    'GNU.sparse.size',
    'GNU.sparse.realsize',
    'GNU.sparse.numblocks',
    'GNU.sparse.offset',
    'GNU.sparse.numbytes',
    'SCHILY.xattr.a',
    '',
  )
  const value = fc.oneof(
    fc.string(),
    fc.integer().map(String),
    fc.constantFrom('', '-1', '1e9', '0x10', '1,2', '0,1,1,1', '9'.repeat(30), '\0', '1.0', '-0.5'),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 6 }), (records) => {
      const data = Buffer.concat(records.map(([name, text]) => formatPaxRecord(name, Buffer.from(text))))
      const [seed = Buffer.alloc(0)] = seeds
      const header = Buffer.alloc(512)
      header.write('pax', 0)
      header.write('0000644\0', 100)
      header.write(data.length.toString(8).padStart(11, '0'), 124)
      header.write('x', 156)
      header.write('ustar\x0000', 257, 'latin1')
      readAll(Buffer.concat([withChecksums(header), data, Buffer.alloc((512 - (data.length % 512)) % 512), seed]), 512)
    }),
    { interruptAfterTimeLimit: 1500, markInterruptAsFailure: false, numRuns: 100_000 },
  )
})
