import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// The built package: its threads are files of their own.
import { type Archive, type CompareOptions, createTarReader, openArchive, TarType } from '@containerd-ts/archive'
import { setXattr } from '@containerd-ts/linux'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { streamOf } from '../layer.js'

let archive: Archive
let dir: string

beforeAll(() => {
  archive = openArchive()
})
afterAll(() => archive.close())
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-compare-'))
  for (const name of ['lower', 'upper']) mkdirSync(join(dir, name))
})
afterEach(() => rmSync(dir, { recursive: true }))

const bind = (name: string) => ({ type: 'bind', source: join(dir, name), target: '', options: ['rbind', 'rw'] })

async function compareTo(lower: boolean, options: Partial<CompareOptions> = {}): Promise<Buffer> {
  const comparison = archive.compare(lower ? [bind('lower')] : [], [bind('upper')], { tempRoot: join(dir, 'tmp'), ...options })
  const parts: Uint8Array[] = []
  for await (const part of comparison.bytes) parts.push(part)
  const bytes = Buffer.concat(parts)
  expect(await comparison.result).toEqual({
    digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
    sizeBytes: bytes.length,
  })
  return bytes
}

/** Entries in the order of the archive: `name`, `name -> target` of a link, `name = target` of a hard link. */
function listed(bytes: Buffer): string[] {
  let offset = 0
  const tar = createTarReader({
    read(max) {
      const part = bytes.subarray(offset, offset + max)
      offset += part.length
      return part
    },
  })
  const lines: string[] = []
  for (let header = tar.next(); header !== undefined; header = tar.next()) {
    const sign = header.type === TarType.Link ? ' = ' : header.type === TarType.Symlink ? ' -> ' : ''
    lines.push(`${header.name}${sign}${header.linkName}`)
  }
  return lines
}

/** Makes the lower tree by a script, copies it to the upper one and changes that by another script. */
async function diffOf(before: string, change: string, options?: Partial<CompareOptions>): Promise<string[]> {
  const run = (where: string, script: string) => execFileSync('sh', ['-euc', script], { cwd: join(dir, where) })
  run('lower', before)
  execFileSync('cp', ['-a', `${dir}/lower/.`, join(dir, 'upper')])
  run('upper', change)
  return listed(await compareTo(true, options))
}

const tree = `
  mkdir -p d1/sub d2
  echo 1 > d1/f1; echo 2 > d1/sub/f2; echo 3 > d2/f3; echo 4 > top
  ln -s f1 d1/l; ln top linked
`

describe.runIf(process.getuid?.() === 0)('the layer between two trees', () => {
  test.each([
    ['nothing changed', tree, ':', []],
    [
      'added',
      tree,
      'mkdir n; echo x > n/a; echo x > n.b; echo x > n/c; ln -s a n/l; mkfifo n/p',
      ['n/', 'n/a', 'n/c', 'n/l -> a', 'n/p', 'n.b'],
    ],
    ['a file removed', tree, 'rm d1/f1', ['d1/', 'd1/.wh.f1']],
    ['a directory removed', tree, 'rm -r d1', ['.wh.d1']],
    ['a directory replaced by a file', tree, 'rm -r d1; echo f > d1', ['d1']],
    ['a file replaced by a directory', tree, 'rm top; mkdir top; echo x > top/in', ['top/', 'top/in']],
    ['renamed', tree, 'mv d1/f1 d1/g1', ['d1/', 'd1/.wh.f1', 'd1/g1']],
    ['a directory renamed', tree, 'mv d1 e1', ['.wh.d1', 'e1/', 'e1/f1', 'e1/l -> f1', 'e1/sub/', 'e1/sub/f2']],
    ['mode', tree, 'chmod 600 d1/f1; chmod 700 d2', ['d1/', 'd1/f1', 'd2/']],
    ['owner', tree, 'chown 5:6 d1/sub/f2', ['d1/', 'd1/sub/', 'd1/sub/f2']],
    ['owner of a link', tree, 'chown -h 5 d1/l', ['d1/', 'd1/l -> f1']],
    ['time of a file', tree, 'touch d1/f1', ['d1/', 'd1/f1']],
    ['time of a directory alone', tree, 'touch d1 d1/sub', []],
    ['same size, same time, other content', 'echo a > f; touch -d @1000 f', 'echo b > f; touch -d @1000 f', ['f']],
    [
      'same content, times cut to seconds',
      'echo a > f; ln -s x l; touch -hd @1000 f l',
      'rm f; echo a > f; touch -d @1000 f',
      [],
    ],
    ['a link with another target', 'ln -s a l; touch -hd @1000 l', 'ln -sf b l; touch -hd @1000 l', ['l -> b']],
    ['a socket', tree, 'perl -MIO::Socket::UNIX -e \'IO::Socket::UNIX->new(Local => "s", Listen => 1)\'', []],
    ['devices', ':', 'mknod c c 1 3; mknod b b 7 0', ['b', 'c']],
    ['an unchanged name of a changed file', tree, 'echo more >> top', ['linked', 'top = linked']],
    ['a new name of an unchanged file', tree, 'ln top also', ['also', 'linked = also', 'top = also']],
    [
      'names of one file in several directories, one of them new',
      'mkdir a c; echo 1 > a/x; ln a/x c/z',
      'mkdir b; ln a/x b/y',
      // The unchanged ones follow the first that is written.
      ['b/', 'b/y', 'a/', 'a/x = b/y', 'c/', 'c/z = b/y'],
    ],
    [
      'names in byte order, the slash first',
      ':',
      'mkdir a; touch a/b a-b a.b ab A; touch "$(printf "\\303\\251")"',
      ['A', 'a/', 'a/b', 'a-b', 'a.b', 'ab', 'é'],
    ],
    ['whiteouts below what was replaced are dropped', 'mkdir -p x/y; touch x/y/z x/w', 'rm -r x; touch x; touch x2', ['x', 'x2']],
  ])('%s', async (_, before, change, expected) => {
    expect(await diffOf(before, change)).toEqual(expected)
  })

  test('a capability counts and is written, other attributes are neither', async () => {
    await diffOf('echo x > f; echo x > g', ':')
    const value = Buffer.from('0100000200040000000000000000000000000000', 'hex')
    setXattr(join(dir, 'upper/f'), 'security.capability', value)
    setXattr(join(dir, 'upper/g'), 'user.x', Buffer.from('y'))
    const bytes = await compareTo(true)
    expect(listed(bytes)).toEqual(['f'])
    expect(bytes.includes(Buffer.concat([Buffer.from('SCHILY.xattr.security.capability='), value]))).toBe(true)
  })

  test('an unchanged tree is 1024 zero bytes', async () => {
    expect(await compareTo(true)).toEqual(Buffer.alloc(1024))
  })

  test('headers hold what containerd writes and nothing more', async () => {
    await diffOf('echo gone > gone', 'rm gone; echo x > f; chown 70000:80000 f; chmod 4755 f; touch -d @1700000000.9 f')
    const bytes = await compareTo(true)
    const [file, whiteout] = [bytes.subarray(0, 512), bytes.subarray(1024, 1536)]
    const field = (block: Buffer, start: number, end: number) => block.toString('latin1', start, end).replace(/\0+$/, '')
    expect(field(whiteout, 0, 100)).toBe('.wh.gone')
    expect([field(whiteout, 100, 108), field(whiteout, 124, 136), field(whiteout, 136, 148)]).toEqual([
      '0000000',
      '00000000000',
      '00000000000',
    ])
    expect([field(file, 0, 100), field(file, 100, 108), field(file, 108, 116), field(file, 116, 124)]).toEqual([
      'f',
      '0004755',
      '0210560',
      '0234200',
    ])
    // The fraction of the time is cut; neither user nor group name is told.
    expect(field(file, 136, 148)).toBe((1_700_000_000).toString(8))
    expect([field(file, 265, 297), field(file, 297, 329), field(file, 257, 265)]).toEqual(['', '', 'ustar\x0000'])
  })

  test('no time is later than wanted', async () => {
    await diffOf(':', 'touch -d @1000 old; touch -d @2000 new')
    const bytes = await compareTo(true, { latestSeconds: 1500 })
    expect([512, 0].map((offset) => Number.parseInt(bytes.toString('latin1', offset + 136, offset + 147), 8))).toEqual([
      1000, 1500,
    ])
  })

  test('unpacked again it gives the same tree, and again the same layer', async () => {
    cpSync('/etc', join(dir, 'upper'), { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.sock') })
    const first = await compareTo(false)
    rmSync(join(dir, 'upper'), { recursive: true })
    mkdirSync(join(dir, 'upper'))
    await archive.apply(streamOf(first, 60_000), { kind: 'directory', path: join(dir, 'upper') })
    const second = await compareTo(false)
    expect(second.equals(first)).toBe(true)
  })

  test('long and strange names', async () => {
    const long = `${'l'.repeat(120)}/${'m'.repeat(200)}`
    mkdirSync(join(dir, 'upper', long), { recursive: true })
    const bytesName = Buffer.concat([Buffer.from(join(dir, 'upper/')), Buffer.from([0xff, 0xfe])])
    writeFileSync(bytesName, 'raw')
    const names = listed(await compareTo(false))
    expect(names).toContain(`${long}/`)
    const out = join(dir, 'out')
    mkdirSync(out)
    execFileSync('tar', ['-C', out, '-xf', '-'], { input: await compareTo(false) })
    expect(existsSync(join(out, long))).toBe(true)
    expect(readFileSync(Buffer.concat([Buffer.from(`${out}/`), Buffer.from([0xff, 0xfe])]), 'utf8')).toBe('raw')
  })
})

describe.runIf(process.getuid?.() === 0)('a comparison', () => {
  test('that nobody reads to the end stops and leaves nothing mounted', async () => {
    for (let i = 0; i < 20; i++) writeFileSync(join(dir, 'upper', String(i)), Buffer.alloc(1 << 20))
    const comparison = archive.compare([], [bind('upper')], { tempRoot: join(dir, 'tmp') })
    for await (const part of comparison.bytes) {
      expect(part.length).toBeGreaterThan(0)
      break
    }
    await expect(comparison.result).rejects.toThrow('aborted')
    expect(readdirSync(join(dir, 'tmp'))).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir)
  })

  test('is ended by its signal', async () => {
    for (let i = 0; i < 20; i++) writeFileSync(join(dir, 'upper', String(i)), Buffer.alloc(1 << 20))
    const controller = new AbortController()
    const comparison = archive.compare([], [bind('upper')], { tempRoot: join(dir, 'tmp'), signal: controller.signal })
    const read = async () => {
      for await (const _ of comparison.bytes) controller.abort(new Error('enough'))
    }
    await expect(read()).rejects.toThrow('enough')
  })

  test('of an overlay shows its merged tree, the upper one read-only', async () => {
    for (const name of ['a', 'b', 'work']) mkdirSync(join(dir, name))
    writeFileSync(join(dir, 'a/file'), 'a')
    writeFileSync(join(dir, 'b/file'), 'longer')
    const overlay = (options: string[]) => ({ type: 'overlay', source: 'overlay', target: '', options })
    const upper = overlay([`workdir=${join(dir, 'work')}`, `upperdir=${join(dir, 'b')}`, `lowerdir=${join(dir, 'a')}`])
    const comparison = archive.compare([bind('a')], [upper], { tempRoot: join(dir, 'tmp') })
    const parts: Uint8Array[] = []
    for await (const part of comparison.bytes) parts.push(part)
    expect(listed(Buffer.concat(parts))).toEqual(['file'])
    // A writable overlay would have left something there.
    expect(readdirSync(join(dir, 'work'))).toEqual([])
  })
})
