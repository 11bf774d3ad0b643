import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openArchive } from '@containerd-ts/archive'
import { createContentStore, type LocalContentStore } from '@containerd-ts/content-local/store'
import { createWalkingDiffer, type WalkingDiffer } from '@containerd-ts/differ-walking/differ'
import { background, type Snapshotter } from '@containerd-ts/interface'
import { connectProxy, createRemoteContentStore, type ProxyConnection } from '@containerd-ts/proxy-client'
import { type ServedPlugins, servePlugins } from '@containerd-ts/proxy-server'
import { openNativeSnapshotter } from '@containerd-ts/snapshot-native/snapshotter'
import { type BuiltImage, buildBusyboxImage, eventually, ourDaemon, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

// Plugins served by this process, used by another: Debian's containerd, and the daemon of this project. Needs root.
describe.runIf(process.getuid?.() === 0).each([
  // Version 1.6 knows no differs of other processes.
  { name: "Debian's containerd", command: 'containerd', knowsDiffers: false },
  { name: 'our containerd', command: ourDaemon, knowsDiffers: true },
])('$name with plugins of another process', ({ command, knowsDiffers }) => {
  let dir: string
  let image: BuiltImage
  let daemon: TestDaemon
  let content: LocalContentStore
  let snapshotter: Snapshotter
  let differ: WalkingDiffer
  let toDaemon: ProxyConnection
  let served: ServedPlugins
  const calls = new Map<string, number>()

  /** Counts the calls of an object's methods, to see who has done the work. */
  function counted<T extends object>(name: string, target: T): T {
    return new Proxy(target, {
      get(object, key, receiver) {
        const value: unknown = Reflect.get(object, key, receiver)
        if (typeof value === 'function') calls.set(`${name}.${String(key)}`, (calls.get(`${name}.${String(key)}`) ?? 0) + 1)
        return value
      },
    })
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'proxy-e2e-'))
    image = await buildBusyboxImage(dir)
    content = await createContentStore({ root: join(dir, 'content') })
    snapshotter = await openNativeSnapshotter(join(dir, 'snapshots'))
    // The differ finds its layers in the daemon's namespaced content store.
    toDaemon = connectProxy(join(dir, 'd/c.sock'))
    differ = createWalkingDiffer({
      content: createRemoteContentStore(toDaemon),
      archive: openArchive(),
      tempRoot: join(dir, 'tmpmounts'),
    })
    served = await servePlugins({
      address: join(dir, 'p.sock'),
      content: counted('content', content),
      snapshotters: { served: counted('snapshotter', snapshotter) },
      differ: counted('differ', differ),
    })
    const proxy = (name: string, type: string) => `[proxy_plugins.${name}]\n  type = "${type}"\n  address = "${served.address}"\n`
    daemon = await startDaemon({
      dir: join(dir, 'd'),
      command,
      config: `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.content.v1.content"]
${proxy('served', 'snapshot')}${proxy('served-content', 'content')}${knowsDiffers ? proxy('served-differ', 'diff') : ''}
[plugins."io.containerd.service.v1.diff-service"]
  default = ["${knowsDiffers ? 'served-differ' : 'walking'}"]
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "${join(dir, 's')}"
`,
    })
  })
  afterAll(async () => {
    expect(await daemon?.stop()).toBe(0)
    toDaemon?.close()
    await served?.close()
    await differ?.close()
    await snapshotter?.close?.()
    await content?.close()
    await rm(dir, { recursive: true, force: true })
  })

  test('they are listed like its own', async () => {
    const table = await daemon.mustCtr(['plugins', 'ls'])
    for (const [type, id] of [
      ['snapshotter', 'served'],
      ['content', 'served-content'],
      ...(knowsDiffers ? [['differ', 'served-differ']] : []),
    ]) {
      expect(table).toMatch(new RegExp(`^io\\.containerd\\.${type}\\.v1 +${id} +\\S+ +ok`, 'm'))
    }
  })

  test('an image is imported into the served store, unpacked into the served snapshotter, and run', async () => {
    await daemon.mustCtr(['images', 'import', '--snapshotter', 'served', image.archive])
    const run = await daemon.mustCtr([
      'run',
      '--rm',
      '--snapshotter',
      'served',
      image.name,
      'c1',
      '/bin/sh',
      '-c',
      'echo hello from a proxy',
    ])
    expect(run).toBe('hello from a proxy\n')
    expect(calls.get('content.writer')).toBeGreaterThanOrEqual(4)
    expect(calls.get('snapshotter.prepare')).toBeGreaterThanOrEqual(3)
    expect(calls.get('snapshotter.commit')).toBe(2)
    expect(calls.get('differ.apply')).toBe(knowsDiffers ? 2 : undefined)
    expect(await daemon.mustCtr(['snapshots', '--snapshotter', 'served', 'ls'])).toMatch(
      /sha256:[0-9a-f]{64} +sha256:[0-9a-f]{64} +Committed/,
    )
    expect(await daemon.mustCtr(['snapshots', '--snapshotter', 'served', 'usage'])).toMatch(/sha256:/)
  })

  test('blobs are read, labelled and compared through the served plugins', async () => {
    const [digest = ''] = (await daemon.mustCtr(['content', 'ls', '-q'])).trim().split('\n')
    expect(await daemon.mustCtr(['content', 'get', digest])).not.toBe('')
    expect(await daemon.mustCtr(['content', 'label', digest, 'example=yes'])).toContain('example=yes')
    const [top = ''] =
      /sha256:[0-9a-f]{64}(?= +sha256)/.exec(await daemon.mustCtr(['snapshots', '--snapshotter', 'served', 'ls'])) ?? []
    expect((await daemon.mustCtr(['snapshots', '--snapshotter', 'served', 'diff', top])).length).toBeGreaterThan(100)
    expect(calls.get('differ.compare')).toBe(knowsDiffers ? 1 : undefined)
  })

  test('what nothing needs any more is collected there', async () => {
    await daemon.mustCtr(['images', 'rm', '--sync', image.name])
    const snapshots = async () => {
      const names: string[] = []
      for await (const { name } of snapshotter.walk(background(), [])) names.push(name)
      return names
    }
    await eventually('the snapshots are gone', async () => ((await snapshots()).length === 0 ? true : undefined))
    expect(calls.get('snapshotter.remove')).toBeGreaterThanOrEqual(2)
  })

  test('while the other process is away, calls say so, and afterwards they work again', async () => {
    const list = ['snapshots', '--snapshotter', 'served', 'prepare', 'k']
    await served.close()
    const { code, stderr } = await daemon.ctr(list)
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/unavailable/i)
    served = await servePlugins({ address: served.address, snapshotters: { served: snapshotter }, content, differ })
    await eventually('it works again', async () => ((await daemon.ctr(list)).code === 0 ? true : undefined))
    await daemon.mustCtr(['snapshots', '--snapshotter', 'served', 'rm', 'k'])
  })
})
