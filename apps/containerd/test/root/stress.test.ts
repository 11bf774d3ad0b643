import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Any } from '@containerd-ts/api'
import { TaskExit } from '@containerd-ts/api/containerd/events/task'
import { type Containerd, connect, importImage, leased, ociSpec, unpack } from '@containerd-ts/client'
import { eventually } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, startEnvironment } from './environment.js'

const containerCount = 200
const execsEach = 3
const atOnce = 16
const nowhere = { stdin: '', stdout: '', stderr: '', terminal: false }

// Hundreds of containers that come and go at once. Needs root.
describe.runIf(process.getuid?.() === 0)('many tasks', () => {
  let env: Environment
  let containerd: Containerd
  const ns = `stress-${process.pid}`

  beforeAll(async () => {
    env = await startEnvironment({ logLevel: 'info' })
    containerd = connect(env.daemon.address, { namespace: ns })
  })
  afterAll(async () => {
    containerd?.close()
    await env?.close()
  })

  const forEach = async (work: (n: number) => Promise<void>) => {
    const numbers = Array.from({ length: containerCount }, (_, n) => n)
    const worker = async () => {
      for (let n = numbers.shift(); n !== undefined; n = numbers.shift()) await work(n)
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
  }

  const processSpec = (args: string[]): Any => ({
    typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
    value: Buffer.from(JSON.stringify({ user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin'], cwd: '/' })),
  })

  /** Descriptors of the daemon and of the shim, by pid. */
  const descriptors = async () => {
    const counts: number[] = []
    for (const pid of await readdir('/proc')) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      if (pid !== String(env.daemon.pid) && !command.includes(`-namespace\0${ns}\0`)) continue
      counts.push((await readdir(`/proc/${pid}/fd`)).length)
    }
    return counts
  }

  test(`${containerCount} containers are created, exec'd into and removed at once, and every exit code is right`, async () => {
    const { tasks } = containerd
    const [name = ''] = await importImage(containerd, env.image.archive)
    const { image } = await containerd.images.get({ name })
    const { chainId, config } = await unpack(containerd, image?.target ?? { mediaType: '', digest: '', size: 0, annotations: {} })
    const out = join(env.dir, 'out')
    await mkdir(out)

    const heard = new Map<string, number[]>()
    const listening = new AbortController()
    const listened = (async () => {
      try {
        const filters = [`topic=="/tasks/exit",namespace==${ns}`]
        for await (const { event } of containerd.events.subscribe({ filters }, { signal: listening.signal })) {
          const { containerId, id, exitStatus } = TaskExit.decode(event?.value ?? new Uint8Array(0))
          heard.set(`${containerId} ${id}`, [...(heard.get(`${containerId} ${id}`) ?? []), exitStatus])
        }
      } catch (error) {
        if (!listening.signal.aborted) throw error
      }
    })()
    listened.catch(() => {})

    // Until the container refers to its snapshot, only a lease keeps that from garbage collection.
    const start = (id: string, args: string[], stdout: string) => leased(containerd, (held) => startWith(held, id, args, stdout))
    const startWith = async ({ snapshots, containers, tasks }: Containerd, id: string, args: string[], stdout: string) => {
      const { mounts } = await snapshots.prepare({ snapshotter: 'overlayfs', key: id, parent: chainId })
      const spec = ociSpec(config, { args, cgroupsPath: `/${ns}/${id}` })
      await containers.create({
        container: {
          id,
          snapshotter: 'overlayfs',
          snapshotKey: id,
          runtime: { name: 'io.containerd.runc.v2' },
          spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from(JSON.stringify(spec)) },
        },
      })
      await tasks.create({ containerId: id, rootfs: mounts, ...nowhere, stdout: `file://${stdout}` })
      await tasks.start({ containerId: id })
    }
    const remove = async (id: string) => {
      await tasks.delete({ containerId: id })
      // In this order, as without the container nothing keeps the snapshot from garbage collection.
      await containerd.snapshots.remove({ snapshotter: 'overlayfs', key: id })
      await containerd.containers.delete({ id })
    }
    // One for good, so that daemon and shim are as they are when they have nothing to do.
    await start('first', ['sleep', '1000'], join(out, 'first'))
    const before = await descriptors()

    await forEach((n) =>
      start(`c${n}`, ['sh', '-c', `trap "exit ${n}" TERM; echo out ${n}; sleep 1000 & wait`], join(out, `c${n}`)),
    )
    const listed = (await tasks.list({ filter: '' })).tasks
    expect(listed.length).toBe(containerCount + 1)
    expect(listed.every(({ status }) => status === 2)).toBe(true)

    await forEach(async (n) => {
      const containerId = `c${n}`
      await Promise.all(
        Array.from({ length: execsEach }, async (_, k) => {
          const execId = `e${k}`
          const code = (n + 50 * k) % 256
          await tasks.exec({ containerId, execId, spec: processSpec(['sh', '-c', `exit ${code}`]), ...nowhere })
          const exit = tasks.wait({ containerId, execId })
          await tasks.start({ containerId, execId })
          expect((await exit).exitStatus, `${containerId} ${execId}`).toBe(code)
          expect(await tasks.deleteProcess({ containerId, execId })).toMatchObject({ exitStatus: code })
        }),
      )
    })

    await forEach(async (n) => {
      const containerId = `c${n}`
      const exit = tasks.wait({ containerId })
      await tasks.kill({ containerId, signal: 15 })
      expect((await exit).exitStatus, containerId).toBe(n)
      await remove(containerId)
      expect(await readFile(join(out, containerId), 'utf8')).toBe(`out ${n}\n`)
    })

    await eventually('every exit is told', () => (heard.size >= containerCount * (execsEach + 1) ? true : undefined))
    listening.abort()
    await listened
    expect([...heard.values()].filter((statuses) => statuses.length !== 1)).toEqual([])
    expect(heard.get('c77 c77')).toEqual([77])
    expect(heard.get('c77 e2')).toEqual([177])

    // Nothing is left of them.
    expect((await tasks.list({ filter: '' })).tasks.map(({ id }) => id)).toEqual(['first'])
    const bundles = 'io.containerd.runtime.v2.task'
    expect(await readdir(join(env.daemon.state, bundles, ns))).toEqual(['first'])
    expect(await readdir(join(env.daemon.root, bundles, ns))).toEqual(['first'])
    expect(await readdir(join('/run/containerd/runc', ns))).toEqual(['first'])
    for (const controller of ['memory', 'pids', 'devices', 'freezer']) {
      const groups = await readdir(join('/sys/fs/cgroup', controller, ns), { withFileTypes: true }).catch(() => undefined)
      if (groups !== undefined)
        expect(groups.filter((entry) => entry.isDirectory()).map((entry) => entry.name)).toEqual(['first'])
    }
    await eventually('descriptors are let go of', async () =>
      (await descriptors()).every((count, index) => count <= (before[index] ?? 0) + 2) ? true : undefined,
    )
    await tasks.kill({ containerId: 'first', signal: 9 })
    await tasks.wait({ containerId: 'first' })
    await remove('first')
    expect(await readdir(join(env.daemon.state, bundles, ns))).toEqual([])
  }, 300_000)
})
