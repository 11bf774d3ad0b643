import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { openArchive } from '@containerd-ts/archive'
import { createContentStore, type LocalContentStore } from '@containerd-ts/content-local'
import { background, type Descriptor, type Mount, type Snapshotter } from '@containerd-ts/interface'
import { withTempMount } from '@containerd-ts/mount'
import { openOverlaySnapshotter } from '@containerd-ts/snapshot-overlay'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createWalkingDiffer, type WalkingDiffer } from '../../src/differ.js'
import type { StreamProcessor } from '../../src/stream-processor.js'

const ctx = background('test')
const gzipType = 'application/vnd.oci.image.layer.v1.tar+gzip'
let dir: string
let content: LocalContentStore
let snapshots: Snapshotter
let differ: WalkingDiffer

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'differ-'))
  content = await createContentStore({ root: join(dir, 'content') })
  snapshots = await openOverlaySnapshotter(join(dir, 'overlay'))
  differ = createWalkingDiffer({ content, archive: openArchive(), tempRoot: join(dir, 'tmpmounts') })
})
afterEach(async () => {
  await differ.close()
  await snapshots.close?.()
  await content.close()
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir)
  if (existsSync(join(dir, 'tmpmounts'))) expect(readdirSync(join(dir, 'tmpmounts'))).toEqual([])
  rmSync(dir, { recursive: true })
})

const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

async function blob(bytes: Buffer, mediaType = gzipType): Promise<Descriptor> {
  const there = await content.info(ctx, sha256(bytes)).catch(() => undefined)
  if (there !== undefined) return { mediaType, digest: there.digest, sizeBytes: there.sizeBytes, annotations: {} }
  const writer = await content.writer(ctx, { ref: sha256(bytes) })
  await writer.write(bytes)
  const { digest, sizeBytes } = await writer.commit(ctx, {})
  return { mediaType, digest, sizeBytes, annotations: {} }
}

/** A layer as GNU tar makes it of what the script leaves in an empty directory. */
function tarOf(script: string): Buffer {
  const tree = mkdtempSync(join(dir, 'tree-'))
  execFileSync('sh', ['-euc', script], { cwd: tree })
  return execFileSync('tar', ['-C', tree, '--sort=name', '-cf', '-', '.'], { maxBuffer: 1 << 28 })
}

const listing = (mounts: readonly Mount[]) =>
  new Promise<string>((resolve, reject) => {
    withTempMount(mounts, { root: join(dir, 'look'), readonly: true }, async (root) => {
      resolve(
        execFileSync('sh', ['-c', 'find . -mindepth 1 -printf "%p %y %m %U %l %T@\\n" | sort; cat $(find . -type f | sort)'], {
          cwd: root,
          encoding: 'utf8',
        }),
      )
    }).catch(reject)
  })

const layers = [
  'mkdir -p etc/conf.d usr/bin; echo base > etc/file; echo x > etc/conf.d/a; echo y > etc/conf.d/b; ln -s usr/bin bin; echo tool > usr/bin/tool',
  'mkdir -p etc/conf.d; : > etc/.wh.file; : > etc/conf.d/.wh..wh..opq; echo new > etc/conf.d/c',
  'mkdir -p usr/bin; echo two > usr/bin/tool; chmod 4755 usr/bin/tool; mkdir etc; echo dir > etc/file',
]

describe.runIf(process.getuid?.() === 0)('apply', () => {
  test('layers one upon the other, all at once and rebased, or without overlay give the same tree', async () => {
    const tars = layers.map(tarOf)
    const blobs = await Promise.all(tars.map((tar) => blob(gzipSync(tar))))

    let parent = ''
    for (const [i, descriptor] of blobs.entries()) {
      const applied = await differ.apply(ctx, descriptor, await snapshots.prepare(ctx, `s${i}`, parent))
      expect(applied).toEqual({
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: sha256(tars[i] ?? Buffer.alloc(0)),
        sizeBytes: tars[i]?.length,
        annotations: {},
      })
      await snapshots.commit(ctx, `sequential${i}`, `s${i}`)
      parent = `sequential${i}`
    }
    const sequential = await listing(await snapshots.view(ctx, 'v1', parent))

    // A writable snapshot without parent is a bind mount; one that is to be rebased is an overlay upon an empty layer.
    await snapshots.prepare(ctx, 'e', '')
    await snapshots.commit(ctx, 'empty', 'e')
    await Promise.all(
      blobs.map(async (descriptor, i) => {
        const [mount] = await snapshots.prepare(ctx, `p${i}`, i === 0 ? '' : 'empty')
        if (mount !== undefined) await differ.apply(ctx, descriptor, [mount], { syncFs: true })
      }),
    )
    const upper = async (key: string) =>
      (await snapshots.mounts(ctx, key))[0]?.options.find((o) => o.startsWith('upperdir='))?.slice(9)
    const [base] = await snapshots.mounts(ctx, 'p0')
    const lowerdir = [await upper('p2'), await upper('p1'), base?.source].join(':')
    const parallel = await listing([{ type: 'overlay', source: 'overlay', target: '', options: [`lowerdir=${lowerdir}`] }])
    const withoutTimes = (text: string) => text.replace(/ [\d.]+$/gm, '')
    expect(withoutTimes(parallel)).toBe(withoutTimes(sequential))

    const plain = join(dir, 'plain')
    mkdirSync(plain)
    const bind = { type: 'bind', source: plain, target: '', options: ['rbind', 'rw'] }
    for (const descriptor of blobs) await differ.apply(ctx, descriptor, [bind])
    expect(await listing([bind])).toBe(sequential)
    expect(sequential).toContain('./usr/bin/tool f 4755')
    expect(sequential).not.toContain('conf.d/a')
  })

  test('takes what is compressed for what it is, and says what it does not know', async () => {
    const tar = tarOf('echo x > f')
    const [mount] = await snapshots.prepare(ctx, 'a', '')
    if (mount === undefined) throw new Error('no mount')
    const docker = await blob(tar, 'application/vnd.docker.image.rootfs.diff.tar.gzip')
    expect((await differ.apply(ctx, docker, [mount])).digest).toBe(sha256(tar))
    await expect(differ.apply(ctx, { ...docker, mediaType: 'text/plain' }, [mount])).rejects.toMatchObject({
      code: 'Unknown',
      message: 'failed to get stream processor for text/plain: no processor for media-type',
    })
    await expect(differ.apply(ctx, { ...docker, digest: sha256(Buffer.from('none')) }, [mount])).rejects.toMatchObject({
      code: 'NotFound',
    })
    const controller = new AbortController()
    controller.abort(new Error('cancelled'))
    await expect(differ.apply({ ...ctx, signal: controller.signal }, docker, [mount])).rejects.toThrow('cancelled')
  })
})

describe.runIf(process.getuid?.() === 0)('stream processors', () => {
  const own = 'application/x-scrambled'
  const program = (script: string, more: Partial<StreamProcessor> = {}): StreamProcessor => ({
    id: 'unscramble',
    accepts: [own],
    returns: `application/vnd.oci.image.layer.v1.tar+gzip`,
    path: 'sh',
    args: ['-c', script],
    env: ['FROM=config'],
    ...more,
  })
  const scrambled = (bytes: Buffer) => Buffer.from(bytes.map((byte) => byte ^ 0xff))
  // The reverse, by a program that no one here wrote.
  const unscramble = `perl -pe 'BEGIN { binmode STDIN; binmode STDOUT } $_ = ~$_'`

  async function applied(processors: StreamProcessor[], bytes: Buffer, payloads = {}) {
    const other = createWalkingDiffer({ content, archive: openArchive(), tempRoot: join(dir, 'tmpmounts'), processors })
    const target = mkdtempSync(join(dir, 'target-'))
    const bind = { type: 'bind', source: target, target: '', options: ['rbind', 'rw'] }
    try {
      const result = await other.apply(ctx, await blob(bytes, own), [bind], { payloads })
      return { result, names: readdirSync(target) }
    } finally {
      await other.close()
    }
  }

  test('make a layer of a type of its own into an ordinary one, step by step', async () => {
    const tar = tarOf('seq 1 100000 > file; echo x > other')
    const check = `test "$STREAM_PROCESSOR_MEDIATYPE:$FROM" = "${own}:config" && test "$(cat <&3)" = secret && ${unscramble}`
    const payloads = { unscramble: { typeUrl: 'x', value: Buffer.from('secret') } }
    const { result, names } = await applied([program('exit 9'), program(check)], scrambled(gzipSync(tar)), payloads)
    expect(result).toMatchObject({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: sha256(tar),
      sizeBytes: tar.length,
    })
    expect(names.sort()).toEqual(['file', 'other'])
    const twice = [
      program(unscramble, { returns: 'application/x-twice' }),
      program('gunzip', { id: 'second', accepts: ['application/x-twice'], returns: 'application/vnd.oci.image.layer.v1.tar' }),
    ]
    expect((await applied(twice, scrambled(gzipSync(tar)))).result.digest).toBe(sha256(tar))
  })

  test('that fail, are not there or lead nowhere fail the call, and leave nothing', async () => {
    const bytes = scrambled(gzipSync(tarOf('head -c 3000000 /dev/urandom > file')))
    await expect(applied([program('cat > /dev/null; echo no key >&2; exit 3')], bytes)).rejects.toThrow(
      'stream processor "unscramble": no key',
    )
    await expect(applied([program('exit 4')], bytes)).rejects.toThrow('sh ended with 4')
    await expect(applied([program('', { path: '/no/such/program' })], bytes)).rejects.toThrow('cannot run /no/such/program')
    await expect(applied([program(`${unscramble}; exit 5`)], bytes)).rejects.toThrow('sh ended with 5')
    await expect(applied([program('cat', { returns: own })], bytes)).rejects.toThrow('in a circle')
    await expect(applied([program('cat', { returns: 'text/plain' })], bytes)).rejects.toThrow('no processor for media-type')
    expect(
      readdirSync(dir)
        .filter((name) => name.startsWith('target-'))
        .flatMap((name) => readdirSync(join(dir, name))),
    ).toEqual([])
  })
})

describe.runIf(process.getuid?.() === 0)('compare', () => {
  async function changed(): Promise<{ lower: Mount[]; upper: Mount[] }> {
    await differ.apply(ctx, await blob(gzipSync(tarOf(layers[0] ?? ''))), await snapshots.prepare(ctx, 'b', ''))
    await snapshots.commit(ctx, 'base', 'b')
    const upper = await snapshots.prepare(ctx, 'work', 'base')
    await withTempMount(upper, { root: join(dir, 'look') }, async (root) => {
      rmSync(join(root, 'etc/conf.d'), { recursive: true })
      writeFileSync(join(root, 'etc/added'), 'added')
    })
    return { lower: await snapshots.view(ctx, 'v', 'base'), upper }
  }

  test('writes a blob with the digest of what is in it, the same every time', async () => {
    const { lower, upper } = await changed()
    const first = await differ.compare(ctx, lower, upper, { labels: { mine: 'yes' } })
    const info = await content.info(ctx, first.digest)
    const path = join(dir, 'content/blobs/sha256', first.digest.slice(7))
    const raw = gunzipSync(readFileSync(path))
    expect(first).toEqual({ mediaType: gzipType, digest: first.digest, sizeBytes: readFileSync(path).length, annotations: {} })
    expect(info.labels).toEqual({ mine: 'yes', 'containerd.io/uncompressed': sha256(raw) })
    const names = execFileSync('tar', ['-tf', '-'], { input: raw, encoding: 'utf8' }).trim().split('\n')
    expect(names).toEqual(['etc/', 'etc/added', 'etc/.wh.conf.d'])

    // The blob is there already; the label that somebody took from it comes back.
    await content.update(ctx, { digest: first.digest, labels: {} }, [])
    expect(await differ.compare(ctx, lower, upper)).toEqual(first)
    expect((await content.info(ctx, first.digest)).labels).toEqual({ 'containerd.io/uncompressed': sha256(raw) })

    // By the system's library or by Node itself, whichever there is.
    const zstd = await differ.compare(ctx, lower, upper, { mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd' })
    expect((await content.info(ctx, zstd.digest)).labels).toEqual({ 'containerd.io/uncompressed': sha256(raw) })
    const target = join(dir, 'from-zstd')
    mkdirSync(target)
    const bind = { type: 'bind', source: target, target: '', options: ['rbind', 'rw'] }
    expect((await differ.apply(ctx, zstd, [bind])).digest).toBe(sha256(raw))

    const plain = await differ.compare(ctx, lower, upper, { mediaType: 'application/vnd.oci.image.layer.v1.tar' })
    expect(plain.digest).toBe(sha256(raw))
    expect((await content.info(ctx, plain.digest)).labels).toEqual({})
    expect(await content.listStatuses(ctx, [])).toEqual([])
  })

  test('an ingest of the given name is started again, and left when it fails; one of its own is taken away', async () => {
    const { lower, upper } = await changed()
    const rest = await content.writer(ctx, { ref: 'mine' })
    await rest.write(Buffer.from('what an earlier attempt left'))
    await rest.close()
    const { digest } = await differ.compare(ctx, lower, upper, { ref: 'mine' })
    expect(await differ.compare(ctx, lower, upper)).toMatchObject({ digest })

    const broken = [{ type: 'bind', source: join(dir, 'none'), target: '', options: ['rbind'] }]
    await expect(differ.compare(ctx, lower, broken)).rejects.toThrow('no such file or directory')
    expect(await content.listStatuses(ctx, [])).toEqual([])
    await expect(differ.compare(ctx, lower, broken, { ref: 'mine' })).rejects.toThrow('no such file or directory')
    expect((await content.listStatuses(ctx, [])).map(({ ref }) => ref)).toEqual(['mine'])
    await content.abort(ctx, 'mine')
  })

  test('media types that it does not make', async () => {
    for (const mediaType of ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'text/plain']) {
      await expect(differ.compare(ctx, [], [], { mediaType })).rejects.toMatchObject({
        code: 'Unimplemented',
        message: `unsupported diff media type: ${mediaType}: not implemented`,
      })
    }
  })

  test('a cancelled call leaves neither ingest nor mount', async () => {
    const big = join(dir, 'big')
    mkdirSync(big)
    for (let i = 0; i < 30; i++) writeFileSync(join(big, String(i)), Buffer.alloc(1 << 20, i))
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Error('cancelled')), 30)
    const upper = [{ type: 'bind', source: big, target: '', options: ['rbind', 'rw'] }]
    await expect(differ.compare({ ...ctx, signal: controller.signal }, [], upper)).rejects.toThrow('cancelled')
    expect(await content.listStatuses(ctx, [])).toEqual([])
  })
})
