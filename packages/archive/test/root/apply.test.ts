import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
// The built package: its threads are files of their own.
import { type ApplyTarget, type Archive, openArchive, TarType } from '@containerd-ts/archive'
import { getXattr, makeNode, setXattr } from '@containerd-ts/linux'
import { mountAll, unmountAll } from '@containerd-ts/mount'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { directory, type Entry, hardlink, layer, streamOf, symlink } from '../layer.js'

let archive: Archive
let dir: string
let outside: string
let root: string

beforeAll(() => {
  archive = openArchive()
})
afterAll(() => archive.close())
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-apply-'))
  root = join(dir, 'root')
  outside = join(dir, 'outside')
  mkdirSync(root)
  mkdirSync(outside)
  writeFileSync(join(outside, 'victim'), 'untouched')
})
afterEach(() => rmSync(dir, { recursive: true }))

const at = (...path: string[]) => join(root, ...path)
const read = (...path: string[]) => readFileSync(at(...path), 'utf8')
const stat = (...path: string[]) => lstatSync(at(...path), { bigint: true })
const apply = (entries: Entry[], target: ApplyTarget = { kind: 'directory', path: root }) =>
  archive.apply(streamOf(layer(...entries)), target)
const errorOf = (entries: Entry[], target?: ApplyTarget) =>
  apply(entries, target).then(
    () => 'nothing was wrong',
    (error: Error) => error.message,
  )

describe.runIf(process.getuid?.() === 0)('unpacks', () => {
  test('every kind of entry with its attributes', async () => {
    await apply([
      directory('d/', { mode: 0o2750, uid: 7, gid: 8, modified: { seconds: 1_000_000_000, nanos: 0 } }),
      { name: 'd/suid', data: 'program', mode: 0o4755, uid: 3_000_000_000, gid: 4_294_967_294 },
      symlink('d/link', '/etc/passwd'),
      // A hard link sets the attributes once more, which are the same in every ordinary archive.
      { ...hardlink('d/same', 'd/suid'), mode: 0o4755, uid: 3_000_000_000, gid: 4_294_967_294 },
      hardlink('d/same-link', 'd/link'),
      { name: 'd/null', type: TarType.Character, major: 1, minor: 3, mode: 0o666 },
      { name: 'd/fifo', type: TarType.Fifo, mode: 0o600 },
      {
        name: 'd/capable',
        xattrs: new Map([
          ['user.note', Buffer.from('hi')],
          ['trusted.overlay.opaque', Buffer.from('y')],
        ]),
      },
      { name: Buffer.from([0x64, 0x2f, 0xe9]), data: 'a name that is no UTF-8' },
    ])
    expect(stat('d')).toMatchObject({ uid: 7n, gid: 8n, mode: 0o042750n, mtimeNs: 1_000_000_000_000_000_000n })
    expect(stat('d/suid')).toMatchObject({ uid: 3_000_000_000n, gid: 4_294_967_294n, mode: 0o104755n, nlink: 2n })
    expect(stat('d/suid').mtimeNs).toBe(1_500_000_000_000_000_000n)
    expect(stat('d/same').ino).toBe(stat('d/suid').ino)
    expect(readlinkSync(at('d/same-link'))).toBe('/etc/passwd')
    expect(stat('d/null')).toMatchObject({ rdev: 0x103n, mode: 0o020666n })
    expect(stat('d/fifo').isFIFO()).toBe(true)
    expect(getXattr(at('d/capable'), 'user.note')?.toString()).toBe('hi')
    // Marks of overlayfs are not taken from an archive.
    expect(getXattr(at('d/capable'), 'trusted.overlay.opaque')).toBeUndefined()
    expect(readFileSync(Buffer.concat([Buffer.from(at('d/')), Buffer.from([0xe9])]), 'utf8')).toBe('a name that is no UTF-8')
  })

  test('what GNU tar packs, just as GNU tar unpacks it', async () => {
    const packed = execFileSync('tar', ['-C', '/etc', '--format=posix', '-cf', '-', '.'], { maxBuffer: 1 << 30 })
    mkdirSync(join(dir, 'gnu'))
    execFileSync('tar', ['-C', join(dir, 'gnu'), '-xpf', '-'], { input: packed })
    const result = await archive.apply(streamOf(packed, 99_999), { kind: 'directory', path: root })
    expect(result.digest).toBe(`sha256:${createHash('sha256').update(packed).digest('hex')}`)
    expect(result.sizeBytes).toBe(packed.length)
    const list = (path: string) =>
      execFileSync('find', ['.', '-mindepth', '1', '-printf', '%p %y %m %U %G %s %T@ %l %n\n'], { cwd: path, encoding: 'utf8' })
        .split('\n')
        .sort()
    // A directory's own size is the filesystem's affair.
    const shown = (path: string) => list(path).map((line) => line.replace(/^(\S+ d \d+ \d+ \d+) \d+/, '$1'))
    expect(shown(root)).toEqual(shown(join(dir, 'gnu')))
  })

  test.each([
    [
      'file over directory',
      [directory('a/'), { name: 'a/b' }, { name: 'a', data: 'file' }],
      () => expect(read('a')).toBe('file'),
    ],
    ['directory over file', [{ name: 'a' }, directory('a/'), { name: 'a/b', data: 'in' }], () => expect(read('a/b')).toBe('in')],
    ['file over symlink', [symlink('a', '../outside/victim'), { name: 'a', data: 'x' }], () => expect(read('a')).toBe('x')],
    [
      'directory over symlink',
      [directory('t/'), symlink('a', 't'), directory('a/'), { name: 'a/b', data: 'x' }],
      () => expect([stat('a').isDirectory(), existsSync(at('t/b'))]).toEqual([true, false]),
    ],
    [
      'the last of several',
      [
        { name: 'a', data: '1' },
        { name: 'a', data: '2' },
      ],
      () => expect(read('a')).toBe('2'),
    ],
    [
      'directory merged',
      [directory('a/'), { name: 'a/kept', data: 'x' }, directory('a/', { mode: 0o700 })],
      () => expect([read('a/kept'), stat('a').mode]).toEqual(['x', 0o040700n]),
    ],
    ['parents that are not in the archive', [{ name: 'x/y/z', data: '1' }], () => expect(stat('x/y').mode).toBe(0o040755n)],
    [
      'below a link whose target is missing',
      [symlink('a', 'b/c'), { name: 'a/f', data: '1' }],
      () => expect(read('b/c/f')).toBe('1'),
    ],
    ['nothing for the root itself', [directory('./', { mode: 0o700, uid: 9 })], () => expect(stat('.').uid).toBe(0n)],
    [
      'times before 1970 as 1970',
      [{ name: 'old', modified: { seconds: -5, nanos: 0 } }],
      () => expect(stat('old').mtimeNs).toBe(0n),
    ],
  ] satisfies [string, Entry[], () => void][])('%s', async (_, entries, check) => {
    await apply(entries)
    check()
  })

  test('compressed, told by the content, and all bytes after the archive too', async () => {
    const bytes = Buffer.concat([layer({ name: 'f', data: 'x'.repeat(300_000) }), Buffer.from('trailing')])
    const half = bytes.length >> 1
    // What zstd 1.5 makes of the bytes, and of either half of them.
    const [whole, first, second] = [
      'KLUv/QRYlAIABANmADAwMDA2NDQwMDAxMTExNzQwADEzMTMyMDI3NDc0MTEAIDAAAAB1c3RhcgAwMHgLAPz9uFwCCAYSXArpsMYFvyEh75gxh2oXuLFymZ8AFgIAEHitAABQeAB0cmFpbGluZwIAHIBfuCs6uALDZEEw',
      'KLUv/QRQHAIAQgIIDtDnAERPLWjan4ikBlqkiSvjGDSCtb5frNDQ0a8tOBIMAPz9IBeSowD8M+gbJAPcxO0U3gUYnIErvMAA4P4EsCNoAnhA6+ps',
      'KLUv/QRQTAAACHgBAPz/ORACpQAASAB0cmFpbGluZwIAHLi/ZCM7AAIh3SMj',
    ].map((text) => Buffer.from(text, 'base64')) as [Buffer, Buffer, Buffer]
    const compressed = { gzip: gzipSync(bytes), zstd: whole }
    // Members and frames may follow one another, with frames to be skipped between them.
    const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
    const several = {
      gzip: Buffer.concat([gzipSync(bytes.subarray(0, half)), gzipSync(bytes.subarray(half))]),
      zstd: Buffer.concat([skippable, first, skippable, second]),
    }
    for (const stream of [bytes, compressed.gzip, compressed.zstd, several.gzip, several.zstd]) {
      const result = await archive.apply(streamOf(stream, 777), { kind: 'directory', path: root })
      expect(result.digest).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
      expect(result.sizeBytes).toBe(bytes.length)
    }
    await expect(
      archive.apply(streamOf(compressed.gzip), { kind: 'directory', path: root }, { compression: 'none' }),
    ).rejects.toThrow()
    const cut = (stream: Buffer) =>
      archive.apply(streamOf(stream.subarray(0, stream.length - 20)), { kind: 'directory', path: root })
    await expect(cut(compressed.gzip)).rejects.toThrow('unexpected end of file')
    await expect(cut(compressed.zstd)).rejects.toThrow()
    expect((await archive.apply(streamOf(Buffer.alloc(0)), { kind: 'directory', path: root })).sizeBytes).toBe(0)
  })

  test('a zstd frame that demands gigabytes of memory is refused', async () => {
    const greedy = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x03, 0, 0, 0x01, 0, 0])
    await expect(archive.apply(streamOf(greedy), { kind: 'directory', path: root })).rejects.toThrow(/window|memory|too large/i)
  })
})

describe.runIf(process.getuid?.() === 0)('an archive cannot reach outside', () => {
  test.each([
    [
      'names with ..',
      [
        { name: '../outside/victim', data: 'x' },
        { name: 'a/../../../outside/victim', data: 'x' },
      ],
    ],
    ['absolute names', [{ name: 'ABSOLUTE/victim', data: 'x' }]],
    ['relative links', [symlink('a', '../outside'), { name: 'a/victim', data: 'x' }, { name: 'a/.wh.victim' }]],
    ['absolute links', [symlink('a', 'ABSOLUTE'), { name: 'a/victim', data: 'x' }, { name: 'a/.wh..wh..opq' }]],
    ['links of links', [symlink('a', '..'), symlink('b', 'a/../..'), symlink('c', 'b/outside'), { name: 'c/victim', data: 'x' }]],
    ['a directory through a link', [symlink('a', 'ABSOLUTE'), directory('a/'), { name: 'a/victim', data: 'x' }]],
    ['whiteouts', [{ name: '../outside/.wh.victim' }, { name: 'ABSOLUTE/.wh.victim' }]],
  ] as [string, Entry[]][])('%s', async (_, entries) => {
    const placed = (text: string) => text.replace('ABSOLUTE', outside)
    const hostile = entries.map(({ link, ...more }) => ({
      ...more,
      name: placed(String(more.name)),
      ...(link !== undefined && { link: placed(link) }),
    }))
    await apply(hostile)
    expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('untouched')
    expect(readdirSync(dir).sort()).toEqual(['outside', 'root'])
    expect(readdirSync(outside)).toEqual(['victim'])
  })

  test('hard links to files outside', async () => {
    for (const target of [`${outside}/victim`, '../outside/victim', '../../../../../../etc/passwd']) {
      expect(await errorOf([hardlink('a', target)])).toContain('ENOENT')
    }
    expect(await errorOf([symlink('l', outside), hardlink('a', 'l/victim')])).toContain('ENOENT')
  })

  test('changes of mode through a hard link to a symlink', async () => {
    writeFileSync(at('target'), '')
    const before = stat('target').mode
    await apply([symlink('l', 'target'), { ...hardlink('h', 'l'), mode: 0o777 }])
    expect(stat('target').mode).toBe(before)
  })

  test('a library that the layer brings along is not loaded', async () => {
    // A thread that loads anything by name while it is in the layer's root would find this.
    for (const name of ['lib', 'lib64', 'usr/lib', 'lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu']) {
      mkdirSync(at(name), { recursive: true })
      writeFileSync(at(name, 'libc.so.6'), 'no library')
    }
    const fresh = openArchive()
    await fresh.apply(streamOf(layer({ name: 'f', xattrs: new Map([['user.a', Buffer.from('b')]]) })), {
      kind: 'directory',
      path: root,
    })
    expect(getXattr(at('f'), 'user.a')?.toString()).toBe('b')
    await fresh.close()
  })

  test('parents that are files, bad whiteouts, unknown types are errors', async () => {
    expect(await errorOf([{ name: 'f' }, { name: 'f/g' }])).toContain('ENOTDIR')
    for (const name of ['.wh.', '.wh..', 'd/.wh...']) {
      expect(await errorOf([{ name }])).toBe(`invalid whiteout name: ${name.replace('d/', '')}: invalid archive`)
    }
    expect(await errorOf([{ name: 'f', type: '7' }])).toBe('unhandled tar header type 55')
    expect(await errorOf([symlink('a', 'b'), symlink('b', 'a'), { name: 'a/f' }])).toContain('ELOOP')
  })
})

describe.runIf(process.getuid?.() === 0)('whiteouts', () => {
  function existing(base: string): void {
    for (const path of ['d/sub', 'd/new']) mkdirSync(join(base, path), { recursive: true })
    for (const path of ['d/old', 'd/sub/old', 'd/new/old', 'top']) writeFileSync(join(base, path), 'old')
  }

  test('remove from a plain tree', async () => {
    existing(root)
    await apply([{ name: '.wh.top' }, { name: 'd/.wh.sub' }, { name: 'd/.wh.absent' }, { name: '.wh.top' }])
    expect([existsSync(at('top')), existsSync(at('d/sub')), readdirSync(at('d')).sort()]).toEqual([false, false, ['new', 'old']])
  })

  test('an opaque marker spares what the layer itself has brought, before and after it', async () => {
    existing(root)
    symlinkSync('d', at('alias'))
    await apply([
      directory('d/'),
      { name: 'd/new/file', data: 'new' },
      { name: 'alias/through', data: 'new' },
      { name: 'd/.wh..wh..opq' },
      { name: 'd/later', data: 'new' },
    ])
    expect(readdirSync(at('d'), { recursive: true }).sort()).toEqual(['later', 'new', 'new/file', 'through'])
  })

  test('a directory in the place of what its own layer hides shows nothing of that', async () => {
    const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(dir, name)) as [
      string,
      string,
      string,
      string,
    ]
    for (const path of [lower, upper, work, merged]) mkdirSync(path)
    const entries = [
      { name: 'd/.wh.sub' },
      directory('d/sub/'),
      { name: 'd/sub/new' },
      { name: 'd/.wh.old' },
      { name: 'd/old', data: 'new' },
    ]
    existing(root)
    await apply(entries)
    existing(lower)
    await apply(entries, { kind: 'overlay', upper, lowers: [lower] })
    const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`]
    await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], merged)
    try {
      for (const tree of [root, merged]) {
        expect(readdirSync(join(tree, 'd/sub'))).toEqual(['new'])
        expect(readFileSync(join(tree, 'd/old'), 'utf8')).toBe('new')
      }
    } finally {
      await unmountAll(merged)
    }
  })

  test('in an overlay become its own marks, and the merged tree shows the same', async () => {
    const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(dir, name)) as [
      string,
      string,
      string,
      string,
    ]
    for (const path of [lower, upper, work, merged]) mkdirSync(path)
    existing(lower)
    chownSync(join(lower, 'd'), 11, 12)
    setXattr(join(lower, 'd'), 'user.kept', Buffer.from('yes'))
    utimesSync(join(lower, 'd'), 1000, 2000)
    makeNode(join(lower, 'x'), 0o020000)
    const target: ApplyTarget = { kind: 'overlay', upper, lowers: [lower] }
    await apply(
      [
        { name: '.wh.top', uid: 5, gid: 6 },
        { name: '.wh.top' },
        { name: 'd/sub/.wh..wh..opq' },
        { name: 'd/sub/n', data: 'new' },
      ],
      target,
    )

    const gone = lstatSync(join(upper, 'top'))
    expect([gone.isCharacterDevice(), gone.rdev]).toEqual([true, 0])
    expect(getXattr(join(upper, 'd/sub'), 'trusted.overlay.opaque')?.toString()).toBe('y')
    // The directory above was not in the layer: it looks as it does below.
    expect(lstatSync(join(upper, 'd'))).toMatchObject({ uid: 11, gid: 12, mtimeMs: 2_000_000 })
    expect(getXattr(join(upper, 'd'), 'user.kept')?.toString()).toBe('yes')

    const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`]
    await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], merged)
    try {
      expect(readdirSync(join(merged, 'd/sub'))).toEqual(['n'])
      expect(existsSync(join(merged, 'top'))).toBe(false)
      expect(existsSync(join(merged, 'd/old'))).toBe(true)
    } finally {
      await unmountAll(merged)
    }
  })
})

describe.runIf(process.getuid?.() === 0)('mounts', () => {
  test('are seen by nobody else and gone afterwards', async () => {
    const tempRoot = join(dir, 'tmp')
    async function* watched() {
      yield* streamOf(layer({ name: 'f', data: 'x' }))
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir)
    }
    await archive.apply(watched(), {
      kind: 'mounts',
      tempRoot,
      mounts: [{ type: 'bind', source: root, target: '', options: ['rbind', 'rw'] }],
    })
    expect(read('f')).toBe('x')
    expect(readdirSync(tempRoot)).toEqual([])
    await expect(
      archive.apply(streamOf(layer({ name: 'f' })), {
        kind: 'mounts',
        tempRoot,
        mounts: [{ type: 'bind', source: join(dir, 'none'), target: '', options: ['rbind'] }],
      }),
    ).rejects.toThrow(/mount source: .* err: no such file or directory/)
    expect(readdirSync(tempRoot)).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir)
  })

  test('an aborted job stops, and its thread goes on with the next one', async () => {
    const single = openArchive({ threads: 1 })
    const controller = new AbortController()
    let given = 0
    async function* endless() {
      const entry = layer({ name: 'f', data: Buffer.alloc(100_000) }).subarray(0, -1024)
      for (; ; given++) {
        if (given === 50) controller.abort(new Error('enough'))
        yield entry
      }
    }
    await expect(single.apply(endless(), { kind: 'directory', path: root }, { signal: controller.signal })).rejects.toThrow(
      'enough',
    )
    expect(given).toBeLessThan(1000)
    await expect(
      single.apply(
        (async function* () {
          yield layer({ name: 'f' }).subarray(0, 512)
          throw new Error('the source broke')
        })(),
        { kind: 'directory', path: root },
      ),
    ).rejects.toThrow('the source broke')
    await single.apply(streamOf(layer({ name: 'after', data: 'x' })), { kind: 'directory', path: root })
    expect(read('after')).toBe('x')
    await single.close()
  })

  test('more layers at once than threads', async () => {
    const few = openArchive({ threads: 2 })
    const jobs = Array.from({ length: 8 }, (_, i) => {
      mkdirSync(at(String(i)))
      return few.apply(streamOf(layer({ name: 'f', data: `layer ${i}` })), { kind: 'directory', path: at(String(i)) })
    })
    await Promise.all(jobs)
    for (let i = 0; i < 8; i++) expect(read(String(i), 'f')).toBe(`layer ${i}`)
    await few.close()
  })

  test('closing ends what runs and what waits', async () => {
    const single = openArchive({ threads: 1 })
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const waits = async function* () {
      yield layer({ name: 'f', data: 'x' }).subarray(0, 512)
      await released
    }
    const start = () => single.apply(waits(), { kind: 'directory', path: root }).catch((error: Error) => error.message)
    const running = start()
    await vi.waitFor(() => expect(existsSync(at('f'))).toBe(true))
    const jobs = [running, start()]
    await new Promise((resolve) => setTimeout(resolve, 50))
    setTimeout(release, 50)
    await single.close()
    expect(await Promise.all(jobs)).toEqual(['the archive thread ended with code 1', 'the archive is closed'])
    await expect(single.remove(root)).rejects.toThrow('the archive is closed')
  })
})
