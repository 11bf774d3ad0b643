import { createHash } from 'node:crypto'
import { appendFile, chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background, type Context } from '@containerd-ts/interface'
import { eventually, exec, mustExec, ourDaemon, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectStores, type Stores } from '../stores.js'

const ctx = background('default')
const root = { 'containerd.io/gc.root': 'test' }

let dir: string
let daemon: TestDaemon
let stores: Stores
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'faults-'))
})
afterEach(async () => {
  stores?.close()
  await daemon?.stop('SIGKILL')
  await rm(dir, { recursive: true, force: true })
})

async function start(): Promise<void> {
  daemon = await startDaemon({ dir })
  stores = connectStores(daemon.address)
}

async function restart(): Promise<void> {
  stores.close()
  await daemon.stop()
  await start()
}

/** The error that a start ends with. */
async function refusedStart(): Promise<string> {
  return start().then(
    () => 'it started',
    (error: unknown) => String(error),
  )
}

async function put(text: string, where: Context = ctx): Promise<string> {
  const writer = await stores.content.writer(where, { ref: `put ${digestOf(text)}` })
  try {
    await writer.write(Buffer.from(text))
    return (await writer.commit(where, { labels: root })).digest
  } finally {
    await writer.close()
  }
}

async function read(digest: string): Promise<string> {
  const reader = await stores.content.reader(ctx, digest)
  try {
    const bytes = Buffer.alloc(reader.sizeBytes)
    await reader.read(bytes, 0)
    return bytes.toString()
  } finally {
    await reader.close()
  }
}

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`
const failure = (operation: Promise<unknown>) =>
  operation.then(
    () => 'no failure',
    (error: unknown) => String(error),
  )
const blobPath = (digest: string) => join(dir, 'root/io.containerd.content.v1.content/blobs', digest.replace(':', '/'))
const database = () => join(dir, 'root/io.containerd.metadata.v1.level/meta.level')

/** Runs a sub-command of the daemon's program on this root. */
function maintain(...words: string[]) {
  return exec(ourDaemon, ['--root', join(dir, 'root'), 'metadata', ...words])
}

describe('a full disk', () => {
  beforeEach(async () => {
    const image = join(dir, 'disk')
    await writeFile(image, '')
    await truncate(image, 40 << 20)
    await mustExec('mkfs.ext4', ['-q', '-m', '0', image])
    await mkdir(join(dir, 'root'))
    await mustExec('mount', ['-o', 'loop', image, join(dir, 'root')])
  })
  afterEach(async () => {
    stores.close()
    await daemon.stop('SIGKILL')
    await mustExec('umount', [join(dir, 'root')])
  })

  it('is told, loses nothing that was acknowledged, and is over when there is room again', async () => {
    await start()
    const kept = new Map<string, string>()
    const error = await failure(
      (async () => {
        for (let n = 0; ; n++) {
          const text = String(n)
            .padStart(8)
            .repeat(128 * 1024)
          kept.set(await put(text), text)
        }
      })(),
    )
    expect(error).toMatch(/no space left on device/i)
    expect(kept.size).toBeGreaterThan(10)
    // Now small things, until the metadata do not find room either.
    const ids: string[] = []
    const full = await failure(
      (async () => {
        for (let n = 0; n < 20_000; n++) {
          await stores.leases.create(ctx, { id: `lease-${n}`, labels: { text: 'x'.repeat(3000) } })
          ids.push(`lease-${n}`)
        }
      })(),
    )
    expect(full).toMatch(/cannot write metadata: .*no space left on device/i)
    const check = async () => {
      for (const [digest, text] of kept) expect((await read(digest)) === text, digest).toBe(true)
      const found = new Set<string>()
      for await (const { id } of stores.leases.list(ctx, [])) found.add(id)
      expect(ids.filter((id) => !found.has(id))).toEqual([])
    }
    await check()
    // Deleting still works, and makes the room that everything else needs.
    expect(await failure(stores.leases.create(ctx, { id: 'too much', labels: {} }))).toMatch(/no space left on device/i)
    const [first = '', second = ''] = kept.keys()
    for (const digest of [first, second]) {
      await stores.content.delete(ctx, digest)
      kept.delete(digest)
    }
    for (const id of ids.splice(0, 10)) await stores.leases.delete(ctx, id)
    await check()
    await eventually('there is room again', async () => {
      await mustExec(ourDaemon, ['--address', daemon.address, 'gc'])
      return (await failure(stores.leases.create(ctx, { id: 'after', labels: {} }))) === 'no failure' || undefined
    })
    ids.push('after')
    kept.set(await put('small again'), 'small again')
    await check()
    await restart()
    await check()
  })
})

describe('a root that cannot be written to', () => {
  it('is refused with a sentence, and can be looked at', async () => {
    const other = join(dir, 'root')
    await mkdir(other)
    await mustExec('mount', ['-t', 'tmpfs', 'none', other])
    try {
      await start()
      const digest = await put('hello')
      stores.close()
      await daemon.stop()
      await mustExec('mount', ['-o', 'remount,ro', other])
      expect(await refusedStart()).toMatch(/read-only file system/i)
      expect((await maintain('check')).stdout).toMatch(/^the metadata in .* is sound\n$/)
      await mustExec('mount', ['-o', 'remount,rw', other])
      await start()
      expect(await read(digest)).toBe('hello')
    } finally {
      await daemon.stop('SIGKILL')
      await mustExec('umount', [other])
    }
  })
})

describe('a damaged database', () => {
  async function fill(): Promise<string[]> {
    await start()
    const digests: string[] = []
    for (let n = 0; n < 20; n++) digests.push(await put(`blob ${n}`))
    for (const [name, snapshotter] of stores.snapshotters) {
      await snapshotter.prepare(ctx, `${name} active`, '', { labels: root })
      await snapshotter.commit(ctx, `${name} base`, `${name} active`, { labels: root })
      await snapshotter.prepare(ctx, `${name} top`, `${name} base`, { labels: root })
    }
    await stores.leases.create(ctx, { id: 'first', labels: {} })
    stores.close()
    await daemon.stop()
    return digests.sort()
  }

  async function listed() {
    const blobs: string[] = []
    for await (const { digest } of stores.content.walk(ctx, [])) blobs.push(digest)
    const snapshots: string[] = []
    for (const [, snapshotter] of stores.snapshotters)
      for await (const { name, parent } of snapshotter.walk(ctx, [])) snapshots.push(`${name} on ${parent}`)
    return { blobs: blobs.sort(), snapshots: snapshots.sort() }
  }

  const allSnapshots = ['native base on ', 'native top on native base', 'overlayfs base on ', 'overlayfs top on overlayfs base']

  const damages: Record<string, () => Promise<void>> = {
    'cut off': async () => {
      const [log = ''] = (await readdir(database())).filter((name) => name.endsWith('.log'))
      await truncate(join(database(), log), Math.floor((await readFile(join(database(), log))).length / 2))
    },
    overwritten: async () => {
      const [log = ''] = (await readdir(database())).filter((name) => name.endsWith('.log'))
      const bytes = await readFile(join(database(), log))
      await writeFile(join(database(), log), bytes.fill(0, 1000, 3000))
    },
    'without its manifest': async () => {
      for (const name of await readdir(database())) if (name.startsWith('MANIFEST')) await rm(join(database(), name))
    },
  }
  for (const [damage, make] of Object.entries(damages)) {
    it(`${damage} is refused, kept, and rebuilt from the stores by a repair`, async () => {
      const digests = await fill()
      expect((await maintain('check')).code).toBe(0)
      await make()
      expect(await refusedStart()).toMatch(/metadata database .* is damaged: .*containerd metadata repair/)
      const check = await maintain('check')
      expect([check.code, check.stdout]).toEqual([1, expect.stringContaining('damage: ')])
      const repair = await maintain('repair')
      expect([repair.code, repair.stderr]).toEqual([0, ''])
      expect((await readdir(join(database(), '..'))).filter((name) => name.includes('damaged'))).toHaveLength(1)
      await start()
      await stores.collect()
      expect(await listed()).toEqual({ blobs: digests, snapshots: allSnapshots })
      await stores.snapshotters[0]?.[1].mounts(ctx, 'native top')
    })
  }

  it('is not touched while a daemon has it', async () => {
    await start()
    for (const word of ['dump', 'check', 'repair']) {
      const { code, stderr } = await maintain(word)
      expect([code, stderr]).toEqual([1, expect.stringMatching(/root .* is in use by another daemon \(pid \d+\): stop it first/)])
    }
  })

  it('is read for people and for scripts', async () => {
    const [digest = ''] = await fill()
    const table = await maintain('dump', '--kind', 'content')
    expect(table.stdout.split('\n')[0]).toMatch(/^KIND +NAMESPACE +ID +RECORD$/)
    const { records } = JSON.parse((await maintain('dump', '--format', 'json', '-n', 'default', '-k', 'content')).stdout)
    expect(records).toHaveLength(20)
    expect(records[0]).toMatchObject({ kind: 'content', id: ['default', digest], record: { labels: root } })
  })
})

describe('a blob that was altered on disk', () => {
  it('is refused where its size tells, found by a check, and set aside so that it can be fetched again', async () => {
    await start()
    const [short, same, whole] = [await put('will be longer'), await put('same size'), await put('whole')]
    stores.close()
    await daemon.stop()
    for (const digest of [short, same]) await chmod(blobPath(digest), 0o600)
    await appendFile(blobPath(short), '!')
    await writeFile(blobPath(same), 'sane size')
    await start()
    expect(await failure(read(short))).toContain(`content ${short} is damaged: it has 15 bytes, 14 were committed`)
    expect(await read(whole)).toBe('whole')
    stores.close()
    await daemon.stop()
    expect((await maintain('check')).stdout).toContain(`damage: content ${short}`)
    expect((await maintain('check', '--verify')).stdout).toContain(
      `damage: content ${same} of namespace default was altered on disk`,
    )
    expect((await maintain('repair', '--verify')).stdout).toContain(`set aside: ${same} as `)
    await start()
    expect(await failure(read(same))).toContain('not found')
    expect(await put('same size')).toBe(same)
    expect(await put('will be longer')).toBe(short)
    expect([await read(same), await read(short)]).toEqual(['same size', 'will be longer'])
  })
})
