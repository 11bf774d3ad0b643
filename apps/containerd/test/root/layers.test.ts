import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Containerd, chainIds, connect, importImage, readConfig, resolveManifest, unpack } from '@containerd-ts/client'
import { withTempMount } from '@containerd-ts/mount'
import { type BuiltImage, buildImage, findLeaks, mustExec, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { differences, listTree } from './tree-listing.js'

// Another tree of this machine to be compared as a whole, for instance the root of a Debian made by mmdebstrap.
const givenTree = process.env['LAYERS_TREE']
const realFiles = 1000
const labels = { 'containerd.io/gc.root': 'test' }

// Every kind of entry, and everything that a later layer can do to an earlier one.
const layers = [
  `mkdir -p a/deep/er b/opaque c/sub dir-to-file empty sticky setgid
   for i in $(seq 1 300); do echo "file $i" > a/f$i; done
   seq 1 200000 > b/large; echo hidden > b/opaque/hidden; echo 1 > c/sub/1; echo x > dir-to-file/x; echo y > file-to-dir
   chmod 1777 sticky; chmod 2755 setgid; cp /bin/busybox program; chmod 4711 program; ln program program2; ln a/f1 a/deep/er/f1
   ln -s ../a/f1 b/link; ln -s /nowhere/at/all b/dangling; mkfifo b/fifo; mknod b/null c 1 3; mknod b/disk b 259 300000
   touch -d '2001-02-03 04:05:06.123456789' a/f2; touch -hd '2002-02-03 04:05:06.5' b/link; touch -d '1970-01-01 00:00:01' a/deep
   chown 3000000000:4000000000 a/f3; chown 100:200 a/deep; setfattr -n user.note -v value a/f4; setfattr -n user.on.dir -v 1 a/deep/er
   setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 a/f5
   echo odd > "$(printf 'name with \\n newline and \\303\\244')"; mkdir -p "$(seq -s/ 100000 100040)"; echo deep > "$(seq -s/ 100000 100040)/file"
   truncate -s 20M sparse; echo end >> sparse; printf x > $(printf 'n%.0s' $(seq 1 200))`,
  `mkdir -p a b/opaque file-to-dir c; : > a/.wh.f10; : > b/opaque/.wh..wh..opq; echo shown > b/opaque/shown
   : > .wh.empty; echo now a file > dir-to-file; echo in > file-to-dir/in; chmod 700 a; chown 7:8 a; echo new > a/f1
   : > c/.wh.sub; echo again > c/again; mkdir newer; ln -s ../a newer/a`,
  // To be packed without the directories.
  'mkdir -p a/deep/er b; echo third > a/deep/er/third; : > a/deep/er/.wh.f1; chmod 600 a/deep/er/third; mkdir c; : > c/.wh.again',
]

/** The archive of what a script makes, as GNU tar packs it. */
async function tarOf(dir: string, script: string, what: 'all' | 'no directories' = 'all'): Promise<string> {
  const tree = await mkdtemp(join(dir, 'tree-'))
  await mustExec('bash', ['-euc', script], { cwd: tree })
  const tar = `${tree}.tar`
  const options = ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse', '--sort=name']
  const members = what === 'all' ? '.' : '$(find . -not -type d)'
  await mustExec('bash', ['-euc', `tar ${options.join(' ')} -cf ${tar} ${members}`], { cwd: tree })
  await rm(tree, { recursive: true })
  return tar
}

/** Some thousand files that Debian has installed here, or all of a given tree. */
async function realTar(dir: string): Promise<string> {
  const tar = join(dir, 'real.tar')
  const tree = givenTree ?? '/usr'
  const list = join(dir, 'real.list')
  const names = (
    await mustExec('find', ['.', '-xdev', '-mindepth', '1', '-not', '-type', 's'], { cwd: tree, timeoutMs: 300_000 })
  )
    .trim()
    .split('\n')
  const step = givenTree === undefined ? Math.max(1, Math.floor(names.length / realFiles)) : 1
  await writeFile(list, names.filter((_, index) => index % step === 0).join('\n'))
  const args = [
    '-C',
    tree,
    '--format=posix',
    '--xattrs',
    '--xattrs-include=*',
    '--no-recursion',
    '--exclude=*/large-*',
    '-cf',
    tar,
    '-T',
    list,
  ]
  await mustExec('tar', args, { timeoutMs: 600_000 })
  return tar
}

/** The tree of an unpacked image. */
async function treeOf(containerd: Containerd, dir: string, parent: string): Promise<string[]> {
  const { snapshotter, snapshots } = containerd
  const key = `look ${process.hrtime.bigint()}`
  const { mounts } = await snapshots.view({ snapshotter, key, parent, labels })
  let tree: string[] = []
  await withTempMount(mounts, { root: join(dir, 'look') }, async (root) => {
    tree = await listTree(root)
  })
  await snapshots.remove({ snapshotter, key })
  return tree
}

async function imageTarget(containerd: Containerd, image: BuiltImage) {
  const { images } = await containerd.images.list({})
  if (!images.some(({ name }) => name === image.name)) await importImage(containerd, image.archive)
  const { image: record } = await containerd.images.get({ name: image.name })
  if (record?.target === undefined) throw new Error(`no image ${image.name}`)
  return record.target
}

describe.runIf(process.getuid?.() === 0)('layers', () => {
  let dir: string
  let image: BuiltImage
  let theirs: TestDaemon
  let theirClient: Containerd
  let expected: string[]
  let unpackedFrom: bigint

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'layers-'))
    const tars = [await realTar(dir), await tarOf(dir, layers[0] ?? '')]
    tars.push(await tarOf(dir, layers[1] ?? ''), await tarOf(dir, layers[2] ?? '', 'no directories'))
    image = await buildImage(join(dir, 'image'), 'docker.io/library/layers:latest', tars)
    unpackedFrom = BigInt(Date.now()) * 1_000_000n
    theirs = await startDaemon({ dir: join(dir, 'theirs'), command: 'containerd' })
    theirClient = connect(theirs.address, { namespace: 'layers' })
    const { chainId } = await unpack(theirClient, await imageTarget(theirClient, image))
    expected = await treeOf(theirClient, dir, chainId)
  }, 900_000)
  afterAll(async () => {
    theirClient?.close()
    await theirs?.stop()
    if (dir !== undefined) await rm(dir, { recursive: true, force: true })
  })

  test.each(['overlayfs', 'native'])(
    'unpacked on %s are what containerd makes of them',
    async (snapshotter) => {
      const daemon = await startDaemon({ dir: join(dir, snapshotter) })
      const containerd = connect(daemon.address, { namespace: 'layers', snapshotter })
      try {
        const { chainId } = await unpack(containerd, await imageTarget(containerd, image))
        const tree = await treeOf(containerd, dir, chainId)
        expect(treeDifferences(expected, tree, unpackedFrom)).toEqual([])
        expect(expected.length).toBeGreaterThan(realFiles)
      } finally {
        containerd.close()
        await daemon.stop()
      }
    },
    600_000,
  )

  test('made of the same changes are the same, byte for byte', async () => {
    const daemon = await startDaemon({ dir: join(dir, 'diff') })
    const ours = connect(daemon.address, { namespace: 'layers' })
    const diffIds: string[] = []
    try {
      for (const containerd of [theirClient, ours]) {
        const { chainId: parent } = await unpack(containerd, await imageTarget(containerd, image))
        const { snapshotter, snapshots, diff, content } = containerd
        const { mounts: right } = await snapshots.prepare({ snapshotter, key: 'changed', parent, labels })
        const { mounts: left } = await snapshots.view({ snapshotter, key: 'unchanged', parent, labels })
        await withTempMount(right, { root: join(dir, 'look') }, async (root) => {
          // Nothing removed: the containerd of Debian 12 gives whiteouts the time of the day.
          const script = `mkdir -p new/sub; echo 1 > new/file; ln new/file new/sub/link; ln -s file new/symlink; mkfifo new/fifo; mknod new/null c 1 3
            chmod 4755 new/file; echo more >> a/f20; chmod 640 a/f21; chown 5:6 a/f22; ln a/f23 a/also-f23; ln -sf elsewhere b/link
            setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 a/f24; chmod 711 b
            echo x > "new/$(printf 'l%.0s' $(seq 1 180))"; echo x > "$(printf 'new/\\303\\244')"; chown 3000000000 new/sub
            find . -newermt '2025-01-01' -not -type d -exec touch -hd '2020-01-01 00:00:00' {} +; find . -type d -exec touch -d '2020-01-01 00:00:00' {} +`
          await mustExec('bash', ['-euc', script], { cwd: root })
        })
        const { diff: layer } = await diff.diff({ left, right, labels })
        const { info } = await content.info({ digest: layer?.digest ?? '' })
        diffIds.push(info?.labels['containerd.io/uncompressed'] ?? '')
        for (const key of ['changed', 'unchanged']) await snapshots.remove({ snapshotter, key })
      }
    } finally {
      ours.close()
      await daemon.stop()
    }
    expect(diffIds[1]).toMatch(/^sha256:/)
    expect(diffIds[1]).toBe(diffIds[0])
  })

  test.each(['overlayfs', 'native', 'btrfs'])(
    'a daemon that is killed while it unpacks and commits on %s starts clean, and unpacks the whole',
    async (snapshotter) => {
      const home = join(dir, `killed-${snapshotter}`)
      const disk = snapshotter === 'btrfs' ? await btrfsDisk(dir) : undefined
      if (snapshotter === 'btrfs' && disk === undefined) {
        console.log('no btrfs to test on')
        return
      }
      const config = `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
${disk === undefined ? '' : `[plugins."io.containerd.snapshotter.v1.btrfs"]\n  root_path = "${disk}/snapshots"\n`}`
      let daemon = await startDaemon({ dir: home, config })
      let containerd = connect(daemon.address, { namespace: 'layers', snapshotter })
      const store =
        disk === undefined ? join(daemon.root, `io.containerd.snapshotter.v1.${snapshotter}`) : join(disk, 'snapshots')
      try {
        const target = await imageTarget(containerd, image)
        const chain = chainIds((await readConfig(containerd, await resolveManifest(containerd, target))).rootfs.diff_ids)
        for (const delayMs of [20, 90, 200, 400]) {
          const unpacking = unpack(containerd, target).catch(() => {})
          await new Promise((resolve) => setTimeout(resolve, delayMs))
          await daemon.stop('SIGKILL')
          containerd.close()
          await unpacking
          const left = await findLeaks(home)
          expect(left.mounts).toEqual([])
          daemon = await startDaemon({ dir: home, config })
          containerd = connect(daemon.address, { namespace: 'layers', snapshotter })
          expect((await findLeaks(home)).temporary).toEqual([])
          await collectGarbage(containerd)
          const names = await snapshotNames(containerd)
          // Committed layers stay as far as they were told to; what was on its way is gone, its directory included.
          expect(names.filter((name) => !chain.includes(name))).toEqual([])
          expect((await directoriesOf(store, snapshotter)).length).toBe(names.length)
        }
        const { chainId } = await unpack(containerd, target)
        const tree = await treeOf(containerd, dir, chainId)
        expect(treeDifferences(expected, tree, unpackedFrom)).toEqual([])
      } finally {
        containerd.close()
        await daemon.stop()
        if (disk !== undefined) await mustExec('umount', [disk])
      }
    },
    600_000,
  )

  test('the memory of the daemon does not grow with a layer', async () => {
    const tar = await tarOf(
      dir,
      'head -c 400000000 /dev/zero > zeros; mkdir many; for i in $(seq 1 2000); do echo $i > many/$i; done',
    )
    const large = await buildImage(join(dir, 'large'), 'docker.io/library/large:latest', [tar])
    const daemon = await startDaemon({ dir: join(dir, 'memory') })
    const containerd = connect(daemon.address, { namespace: 'layers' })
    try {
      const target = await imageTarget(containerd, large)
      await writeFile(`/proc/${daemon.pid}/clear_refs`, '5')
      const peak = async () => Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]) / 1000
      const before = await peak()
      const { chainId } = await unpack(containerd, target)
      const { snapshotter, snapshots, diff } = containerd
      const { mounts: right } = await snapshots.view({ snapshotter, key: 'whole', parent: chainId, labels })
      await diff.diff({ left: [], right, labels })
      // Of an image of 400 MB.
      expect((await peak()) - before).toBeLessThan(200)
    } finally {
      containerd.close()
      await daemon.stop()
    }
  })
})

/**
 * What differs. The time of a directory does not count where a layer has left it out and containerd made it at some time of this test, or
 * where layers are not laid upon each other and it is that of the last entry that was put there.
 */
function treeDifferences(expected: readonly string[], found: readonly string[], unpackedFrom: bigint): string[] {
  const directory = /^("(?:[^"\\]|\\.)*") 4\d{4} \d+:\d+ (-?\d+)/
  const timeless = new Set<string>()
  for (const line of [...expected, ...found]) {
    const [, name = '', time = '0'] = directory.exec(line) ?? []
    if (BigInt(time) >= unpackedFrom) timeless.add(name)
  }
  const shown = (line: string) => {
    const [start = '', name = '', time = ''] = directory.exec(line) ?? []
    return timeless.has(name) ? start.slice(0, -time.length) + line.slice(start.length) : line
  }
  return differences(expected.map(shown), found.map(shown))
}

/** Nothing holds what an interrupted client held, so that garbage collection takes it. */
async function collectGarbage({ leases }: Containerd): Promise<void> {
  const held = (await leases.list({})).leases
  for (const { id } of held) await leases.delete({ id })
  const { lease } = await leases.create({ id: `gc-${process.hrtime.bigint()}` })
  await leases.delete({ id: lease?.id ?? '', sync: true })
}

async function snapshotNames({ snapshots, snapshotter }: Containerd): Promise<string[]> {
  const names: string[] = []
  for await (const { info } of snapshots.list({ snapshotter, filters: [] })) names.push(...info.map(({ name }) => name))
  return names
}

async function directoriesOf(store: string, snapshotter: string): Promise<string[]> {
  const places = snapshotter === 'btrfs' ? ['active', 'view', 'snapshots'] : ['snapshots']
  return (await Promise.all(places.map((place) => readdir(join(store, place))))).flat()
}

/** A btrfs in a file, undefined where there cannot be one. */
async function btrfsDisk(dir: string): Promise<string | undefined> {
  const [file, path] = [join(dir, 'btrfs.img'), join(dir, 'btrfs')]
  await mkdir(path)
  try {
    await mustExec('truncate', ['-s', '8G', file])
    await mustExec('mkfs.btrfs', ['-q', file])
    await mustExec('mount', ['-o', 'loop', file, path])
    return path
  } catch {
    return undefined
  }
}
