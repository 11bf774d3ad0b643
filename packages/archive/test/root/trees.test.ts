import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { link, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// The built package: its threads are files of their own.
import { type Archive, openArchive } from '@containerd-ts/archive'
import { getXattr, setXattr } from '@containerd-ts/linux'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'

let archive: Archive
let dir: string

beforeAll(() => {
  archive = openArchive()
})
afterAll(() => archive.close())
beforeEach(async () => {
  // A name of more than one byte per character, as any path on the way may have.
  dir = await mkdtemp(join(tmpdir(), 'archive-träes-'))
})
afterEach(() => rm(dir, { recursive: true }))

test('usage counts each inode once, as du does', async () => {
  const tree = join(dir, 'tree')
  await mkdir(join(tree, 'sub'), { recursive: true })
  await writeFile(join(tree, 'file'), Buffer.alloc(100_000))
  await writeFile(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff])]), Buffer.alloc(5000))
  for (let i = 0; i < 100; i++) await link(join(tree, 'file'), join(tree, 'sub', `link${i}`))
  await symlink('file', join(tree, 'symlink'))
  const bytes = Number(execFileSync('du', ['-s', '-B1', tree], { encoding: 'utf8' }).split('\t')[0])
  expect(await archive.measure(tree)).toEqual({ inodes: 5, sizeBytes: bytes })
  await expect(archive.measure(join(dir, 'none'))).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(archive.measure(tree, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
  // As many as only a thread measures.
  for (let i = 100; i < 400; i++) await link(join(tree, 'file'), join(tree, 'sub', `link${i}`))
  const more = Number(execFileSync('du', ['-s', '-B1', tree], { encoding: 'utf8' }).split('\t')[0])
  expect(await archive.measure(tree)).toEqual({ inodes: 5, sizeBytes: more })
})

test('new directories have their modes and owners, whatever the umask', async () => {
  const before = process.umask(0o077)
  try {
    const [outer, inner] = [join(dir, 'outer'), join(dir, 'outer/inner')]
    await archive.makeDirectories([
      { path: outer, mode: 0o711 },
      { path: inner, mode: 0o2775, owner: { like: dir } },
    ])
    expect([outer, inner].map((path) => statSync(path).mode & 0o7777)).toEqual([0o711, 0o2775])
    await expect(
      archive.makeDirectories([
        { path: join(dir, 'next'), mode: 0o700 },
        { path: outer, mode: 0o700 },
      ]),
    ).rejects.toMatchObject({
      code: 'EEXIST',
      path: outer,
    })
    expect(await readdir(dir)).toEqual(expect.arrayContaining(['next']))
  } finally {
    process.umask(before)
  }
})

test('a tree is removed and what its links point to is not', async () => {
  await mkdir(join(dir, 'tree/a/b'), { recursive: true })
  await writeFile(Buffer.concat([Buffer.from(`${join(dir, 'tree/a')}/`), Buffer.from([0xff])]), '')
  await writeFile(join(dir, 'kept'), '')
  await symlink(dir, join(dir, 'tree/a/link'))
  await archive.remove(join(dir, 'tree'))
  await archive.remove(join(dir, 'tree'))
  expect(await readdir(dir)).toEqual(['kept'])
})

describe.runIf(process.getuid?.() === 0)('a copy', () => {
  test('has everything that the tree had', async () => {
    const [from, to] = [join(dir, 'from'), join(dir, 'to')]
    await mkdir(from)
    await mkdir(to)
    execFileSync(
      'sh',
      [
        '-euc',
        `mkdir -p d/e; echo hello > d/f; ln d/f d/e/g; ln -s nowhere l; mknod c c 1 3; mknod b b 259 70000; mkfifo p
         printf x > "$(printf '\\\\377\\\\376')"; chown 3000000000:70000 d/f; chmod 6755 d/f; chown -h 5:6 l; chmod 1700 d/e
         touch -hd @1234567890.123456789 l d/f; touch -d @987654321.5 d/e d .`,
      ],
      { cwd: from },
    )
    setXattr(join(from, 'd/f'), 'user.note', Buffer.from('hi'))
    await archive.copy(from, to)
    const list = (path: string) =>
      execFileSync('find', ['.', '-printf', '%p %y %m %U %G %T@ %l %n\n'], { cwd: path, encoding: 'latin1' }).split('\n').sort()
    expect(list(to)).toEqual(list(from))
    expect(execFileSync('stat', ['-c', '%t,%T', 'c', 'b'], { cwd: to }).toString()).toBe('1,3\n103,11170\n')
    expect(execFileSync('stat', ['-c', '%i', 'd/f'], { cwd: to })).toEqual(
      execFileSync('stat', ['-c', '%i', 'd/e/g'], { cwd: to }),
    )
    expect(getXattr(join(to, 'd/f'), 'user.note')?.toString()).toBe('hi')
  })
})
