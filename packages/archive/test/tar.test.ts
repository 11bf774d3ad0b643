import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type ByteSource,
  createTarReader,
  encodeHeader,
  endOfArchive,
  padded,
  type TarEntry,
  TarType,
  tarEntries,
} from '../src/index.js'
import { formatPaxRecord } from '../src/pax-records.js'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-tar-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

/** Hands out the bytes in pieces of odd sizes, so that headers and data are cut anywhere. */
function source(bytes: Buffer, piece = 333): ByteSource {
  let offset = 0
  return {
    read(max) {
      const part = bytes.subarray(offset, offset + Math.min(max, piece))
      offset += part.length
      return part
    },
  }
}

interface Read {
  name: string
  type: string
  link: string
  size: number
  content: Buffer
  mtime: [number, number]
  xattrs: Record<string, string>
  ids: [number, number]
}

function readAll(bytes: Buffer, piece?: number): Read[] {
  const tar = createTarReader(source(bytes, piece))
  const entries: Read[] = []
  for (let header = tar.next(); header !== undefined; header = tar.next()) {
    const content = Buffer.alloc(header.size)
    for (const { offset, length } of header.spans ?? [{ offset: 0, length: header.storedSize }]) {
      for (let at = offset; at < offset + length; ) at += tar.read(offset + length - at).copy(content, at)
    }
    entries.push({
      name: header.name.toString(),
      type: header.type,
      link: header.linkName.toString(),
      size: header.size,
      content,
      mtime: [header.modified.seconds, header.modified.nanos],
      xattrs: Object.fromEntries([...header.xattrs].map(([key, value]) => [key, value.toString()])),
      ids: [header.uid, header.gid],
    })
  }
  return entries
}

function entry(name: string | Buffer, more: Partial<TarEntry> = {}): TarEntry {
  return {
    name: Buffer.from(name),
    linkName: Buffer.alloc(0),
    type: TarType.Regular,
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    modified: { seconds: 1_700_000_000, nanos: 0 },
    major: 0,
    minor: 0,
    xattrs: new Map(),
    ...more,
  }
}

describe('reads what GNU tar writes', () => {
  const long = `${'directory-with-a-long-name/'.repeat(9)}file`
  beforeAll(() => {
    mkdirSync(join(dir, 'tree', long, '..'), { recursive: true })
    writeFileSync(join(dir, 'tree', long), 'deep')
    writeFileSync(join(dir, 'tree/plain'), 'x'.repeat(1000))
    writeFileSync(Buffer.concat([Buffer.from(join(dir, 'tree/caf')), Buffer.from([0xe9])]), 'latin')
    symlinkSync('t'.repeat(180), join(dir, 'tree/link'))
    const fd = openSync(join(dir, 'tree/sparse'), 'w')
    for (let i = 0; i < 40; i++) writeSync(fd, `data ${i}`, i * 1_000_000)
    closeSync(fd)
    truncateSync(join(dir, 'tree/sparse'), 50_000_000)
  })

  test.each([
    ['gnu', []],
    ['posix', []],
    ['oldgnu', []],
    ['gnu', ['--sparse']],
    ['posix', ['--sparse', '--sparse-version=0.0']],
    ['posix', ['--sparse', '--sparse-version=0.1']],
    ['posix', ['--sparse', '--sparse-version=1.0']],
  ])('format %s %j', (format, options) => {
    const bytes = execFileSync('tar', ['-C', join(dir, 'tree'), `--format=${format}`, ...options, '-cf', '-', '.'], {
      maxBuffer: 1 << 30,
    })
    const entries = new Map(readAll(bytes, 100_001).map((read) => [read.name, read]))
    expect(entries.get(`./${long}`)?.content.toString()).toBe('deep')
    expect(entries.get('./plain')?.content.toString()).toBe('x'.repeat(1000))
    expect(entries.get('./link')?.link).toBe('t'.repeat(180))
    expect([...entries.keys()].some((name) => name.startsWith('./caf'))).toBe(true)
    expect(entries.get('./sparse')?.content.equals(readFileSync(join(dir, 'tree/sparse')))).toBe(true)
  })

  test('times, ids and attributes of extended headers', () => {
    const bytes = execFileSync('tar', [
      '-C',
      join(dir, 'tree'),
      '--format=posix',
      '--owner=u:3000000000',
      '--group=g:4294967294',
      '--mtime=@-5.25',
      '-cf',
      '-',
      'plain',
    ])
    expect(readAll(bytes)[0]).toMatchObject({ ids: [3_000_000_000, 4_294_967_294], mtime: [-6, 750_000_000] })
  })

  test('numbers in base 256', () => {
    const bytes = execFileSync('tar', [
      '-C',
      join(dir, 'tree'),
      '--format=gnu',
      '--owner=u:4000000000',
      '--group=g:3000000000',
      '--mtime=@-7',
      '-cf',
      '-',
      'plain',
    ])
    expect(readAll(bytes)[0]).toMatchObject({ ids: [4_000_000_000, 3_000_000_000], mtime: [-7, 0] })
  })

  test('from a stream', async () => {
    const bytes = execFileSync('tar', ['-C', join(dir, 'tree'), '-cf', '-', 'plain', 'link'])
    async function* pieces() {
      for (let i = 0; i < bytes.length; i += 700) yield bytes.subarray(i, i + 700)
    }
    const names: string[] = []
    for await (const { header, data } of tarEntries(pieces())) {
      names.push(header.name.toString())
      if (header.name.toString() !== 'plain') continue
      const parts: Uint8Array[] = []
      for await (const part of data) parts.push(part)
      expect(Buffer.concat(parts).toString()).toBe('x'.repeat(1000))
    }
    expect(names).toEqual(['plain', 'link'])
  })
})

describe('refuses', () => {
  const header = encodeHeader(entry('file', { size: 5 }))
  const damaged = Buffer.from(header)
  damaged[0] = 0x58
  test.each([
    ['a wrong checksum', damaged, 'invalid tar header'],
    ['a cut header', header.subarray(0, 300), 'unexpected EOF'],
    ['cut data', Buffer.concat([header, Buffer.from('abc')]), 'unexpected EOF'],
    ['one empty block', Buffer.concat([Buffer.alloc(512), header]), 'invalid tar header'],
    ['a malformed record', extended(Buffer.from('99 path=x\n')), 'invalid tar header'],
    ['an endless extended header', encodeHeader(entry('x', { type: TarType.Extended, size: 1 << 30 })), 'too long'],
    [
      'overlapping sparse data',
      extended(
        formatPaxRecord('GNU.sparse.major', Buffer.from('0')),
        formatPaxRecord('GNU.sparse.minor', Buffer.from('1')),
        formatPaxRecord('GNU.sparse.map', Buffer.from('0,3,1,2')),
      ),
      'malformed sparse map',
    ],
  ])('%s', (_, bytes, message) => {
    expect(() => readAll(bytes)).toThrow(message)
  })

  function extended(...records: Buffer[]): Buffer {
    const data = Buffer.concat(records)
    return Buffer.concat([
      encodeHeader(entry('x', { type: TarType.Extended, size: data.length })),
      data,
      Buffer.alloc(padded(data.length) - data.length),
      encodeHeader(entry('file', { size: 5 })),
      Buffer.alloc(512),
    ])
  }
})

describe('what is written', () => {
  const names = [
    'short',
    'n'.repeat(100),
    'n'.repeat(101),
    `${'p'.repeat(155)}/${'n'.repeat(100)}`,
    `${'p'.repeat(156)}/${'n'.repeat(100)}`,
    `${'d/'.repeat(70)}`,
    'käse',
    `${'ü/'.repeat(80)}file`,
  ]

  test('is what GNU tar and we read', () => {
    const entries = [
      ...names.map((name) => entry(name)),
      entry('big-ids', { uid: 4_294_967_294, gid: 3_000_000 }),
      entry('link', { type: TarType.Symlink, linkName: Buffer.from('l'.repeat(150)) }),
      entry('capable', { xattrs: new Map([['security.capability', Buffer.from([1, 0, 0, 2, 0, 10, 255])]]) }),
    ]
    const bytes = Buffer.concat([...entries.map(encodeHeader), endOfArchive])
    const read = readAll(bytes)
    expect(read.map(({ name }) => name)).toEqual(entries.map(({ name }) => name.toString()))
    expect(read.find(({ name }) => name === 'big-ids')?.ids).toEqual([4_294_967_294, 3_000_000])
    expect(read.find(({ name }) => name === 'link')?.link).toBe('l'.repeat(150))

    const listed = execFileSync('tar', ['--quoting-style=literal', '-tf', '-'], { input: bytes, encoding: 'utf8' })
    expect(listed.trim().split('\n')).toEqual(entries.map(({ name }) => name.toString()))
  })

  test('has an extended header only where one is needed', () => {
    const blocks = (name: string) => encodeHeader(entry(name)).length / 512
    expect(names.map(blocks)).toEqual([1, 1, 3, 1, 3, 1, 3, 3])
  })
})
