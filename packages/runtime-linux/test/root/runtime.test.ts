import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Any } from '@containerd-ts/api'
import { TaskExit } from '@containerd-ts/api/containerd/events/task'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/ttrpc/v1/events'
import { background, type Context, type CreateTask, type MonitoredTask } from '@containerd-ts/interface'
import { createReaper, type Reaper } from '@containerd-ts/linux'
import { silentLogger } from '@containerd-ts/plugin'
import { serveTtrpc, type TtrpcServer } from '@containerd-ts/ttrpc'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createRuntime, type LinuxRuntime } from '../../src/runtime.js'
import { createShimFinder } from '../../src/shim-binary.js'
import { createShimCommands } from '../../src/shim-command.js'

const shim = fileURLToPath(new URL('../../../../apps/containerd-shim/bin/containerd-shim', import.meta.url))
const canRun = process.getuid?.() === 0 && existsSync(shim) && existsSync(join(shim, '../../dist/containerd-shim.cjs'))
if (!canRun) console.log('skipped: needs root and a built apps/containerd-shim')

interface Heard {
  topic: string
  id: string
  by: 'shim' | 'daemon'
  exitStatus?: number
}

describe.runIf(canRun)('the runtime', () => {
  let dir: string
  let ctx: Context
  let heard: Heard[]
  let monitored: Map<string, MonitoredTask>
  let reaper: Reaper
  let ttrpc: TtrpcServer
  let runtimes: LinuxRuntime[]
  let starts: number

  const hear = (by: Heard['by'], topic: string, event: Any | undefined) => {
    // Every task event has the container's id first, and an exit its status fourth.
    const { containerId, exitStatus } = TaskExit.decode(event?.value ?? new Uint8Array(0))
    heard.push({ topic, id: containerId, by, ...(topic === '/tasks/exit' ? { exitStatus } : {}) })
  }

  const open = async (idleMs = 60_000): Promise<LinuxRuntime> => {
    const commands = createShimCommands({
      reaper,
      address: join(dir, 'containerd.sock'),
      ttrpcAddress: join(dir, 'containerd.sock.ttrpc'),
      version: 'v2.3.4',
      debug: false,
      env: ['SHIM_TEST=1'],
      socketDir: join(dir, 's'),
    })
    const runtime = createRuntime({
      roots: { root: join(dir, 'root'), state: join(dir, 'state') },
      events: {
        publish: async (_ctx, topic, event) => hear('daemon', topic, event),
        forward: async () => {},
      },
      monitors: [
        {
          add: (task) => monitored.set(task.id, task),
          remove: (_namespace, id) => monitored.delete(id),
        },
      ],
      log: silentLogger,
      commands: {
        ...commands,
        start: (...args) => {
          starts++
          return commands.start(...args)
        },
      },
      findShim: createShimFinder(shim),
      scope: 'namespace',
      idleMs,
    })
    await runtime.recover()
    runtimes.push(runtime)
    return runtime
  }

  const taskOf = (id: string, args: string[], more: Partial<CreateTask> = {}): CreateTask => ({
    containerId: id,
    spec: specOf(`${basename(dir)}-${id}`, args),
    runtime: 'io.containerd.runc.v2',
    rootfs: [{ type: 'bind', source: join(dir, 'busybox'), target: '', options: ['rbind', 'ro'] }],
    checkpointPath: '',
    stdin: '',
    stdout: '',
    stderr: '',
    terminal: false,
    ...more,
  })

  const bundle = (id: string) => join(dir, 'state', ctx.namespace, id)
  const shims = () => processesOf(dir)
  const topicsOf = (id: string) => heard.filter((event) => event.id === id).map(({ topic, by }) => `${by} ${topic}`)

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'runtime-'))
    ctx = background(basename(dir))
    heard = []
    monitored = new Map()
    runtimes = []
    starts = 0
    for (const name of ['bin', 'proc', 'dev', 'tmp']) mkdirSync(join(dir, 'busybox', name), { recursive: true })
    cpSync('/bin/busybox', join(dir, 'busybox/bin/busybox'))
    for (const applet of ['sh', 'sleep', 'true']) symlinkSync('busybox', join(dir, 'busybox/bin', applet))
    reaper = createReaper({ scope: 'own' })
    ttrpc = await serveTtrpc(
      { path: join(dir, 'containerd.sock.ttrpc') },
      {
        services: [
          {
            definition: EventsDefinition,
            handlers: {
              forward: async (_ctx: unknown, { envelope }: { envelope?: { topic: string; event?: Any } }) => {
                hear('shim', envelope?.topic ?? '', envelope?.event)
                return {}
              },
            },
          },
        ],
        context: () => ({}),
      },
    )
  })

  afterEach(async () => {
    for (const runtime of runtimes) await runtime.close()
    for (const pid of shims()) process.kill(pid, 'SIGKILL')
    // What is still there is cleared away as after a crash.
    await (await open(0)).close()
    ttrpc.destroy()
    reaper.close()
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').includes(dir)
    rmSync(dir, { recursive: true, force: true })
    rmSync(join('/run/containerd/runc', basename(dir)), { recursive: true, force: true })
    expect(mounts).toBe(false)
    await expect.poll(shims).toEqual([])
  })

  test('runs tasks one after the other in one resident shim, and leaves nothing of them', async () => {
    const runtime = await open()
    for (const [id, status] of [
      ['a', 0],
      ['b', 7],
    ] as const) {
      const pid = await runtime.create(ctx, taskOf(id, ['sh', '-c', `exit ${status}`]))
      expect(existsSync(join(bundle(id), 'rootfs/bin/busybox'))).toBe(true)
      expect(readFileSync(join(bundle(id), 'shim-binary-path'), 'utf8')).toBe(shim)
      expect(JSON.parse(readFileSync(join(bundle(id), 'bootstrap.json'), 'utf8'))).toMatchObject({
        version: 3,
        protocol: 'ttrpc',
      })
      expect(await runtime.state(ctx, id, '')).toMatchObject({ id, pid, status: 'created' })
      await expect(runtime.create(ctx, taskOf(id, ['true']))).rejects.toMatchObject({
        code: 'AlreadyExists',
        message: `task ${id}: already exists`,
      })
      expect((await monitored.get(id)?.stats(ctx.signal))?.typeUrl).toMatch(/^io\.containerd\.cgroups\.v/)
      const exit = runtime.wait(ctx, id, '')
      expect(await runtime.start(ctx, id, '')).toBe(pid)
      expect(await exit).toMatchObject({ exitStatus: status })
      expect(await runtime.list(ctx)).toMatchObject([{ id, status: 'stopped', exitStatus: status }])
      expect(await runtime.delete(ctx, id, '')).toMatchObject({ pid, exitStatus: status })
      expect(existsSync(bundle(id))).toBe(false)
      await expect(runtime.state(ctx, id, '')).rejects.toMatchObject({ code: 'NotFound', message: `task ${id}: not found` })
      await expect
        .poll(() => topicsOf(id))
        .toEqual(['shim /tasks/create', 'shim /tasks/start', 'shim /tasks/exit', 'shim /tasks/delete'])
    }
    expect(starts).toBe(1)
    expect(shims().length).toBe(1)
    expect(monitored.size).toBe(0)
    expect(readdirSync(join(dir, 'root', ctx.namespace))).toEqual([])
    expect(readdirSync(join(dir, 'state', ctx.namespace))).toEqual([])
  })

  test('starts one shim for tasks that come at the same time, and ends it when it has been idle', async () => {
    const runtime = await open(50)
    const run = async (id: string) => {
      await runtime.create(ctx, taskOf(id, ['true']))
      const exit = runtime.wait(ctx, id, '')
      await runtime.start(ctx, id, '')
      await exit
      await runtime.delete(ctx, id, '')
    }
    await Promise.all(['a', 'b', 'c'].map(run))
    expect(starts).toBe(1)
    await expect.poll(shims).toEqual([])
    await run('d')
    expect(starts).toBe(2)
    expect(heard.filter(({ by }) => by === 'daemon')).toEqual([])
  })

  test('leaves no trace of a task that cannot be created', async () => {
    const runtime = await open()
    await expect(runtime.create(ctx, taskOf('a', ['no-such-program']))).rejects.toMatchObject({
      message: expect.stringMatching(
        /^failed to create shim task: OCI runtime create failed: .*executable file not found in \$PATH/,
      ),
    })
    expect(existsSync(bundle('a'))).toBe(false)
    await expect(runtime.create(ctx, taskOf('a', ['true'], { runtime: 'io.containerd.nosuch.v9' }))).rejects.toMatchObject({
      code: 'NotFound',
      message: expect.stringContaining('binary not installed "containerd-shim-nosuch-v9": file does not exist'),
    })
    await expect(runtime.create(ctx, taskOf('a', ['true'], { runtime: 'nonsense' }))).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
    await expect(runtime.create(ctx, taskOf('a', ['true'], { runtime: '/bin/false' }))).rejects.toMatchObject({
      message: expect.stringMatching(/^failed to start shim: start failed: .*exit status 1$/),
    })
    await expect(runtime.create(ctx, taskOf('../a', ['true']))).rejects.toMatchObject({ code: 'InvalidArgument' })
    expect(readdirSync(join(dir, 'state', ctx.namespace))).toEqual([])
    await sleep(100)
    expect(heard).toEqual([])
    await runtime.create(ctx, taskOf('a', ['true']))
    await runtime.delete(ctx, 'a', '')
  })

  test('finds running tasks again in its next life, and clears away those without processes', async () => {
    const first = await open()
    const pid = await first.create(ctx, taskOf('lives', ['sleep', '100']))
    await first.start(ctx, 'lives', '')
    await first.create(ctx, taskOf('ended', ['true']))
    const ended = first.wait(ctx, 'ended', '')
    await first.start(ctx, 'ended', '')
    await ended
    const waiting = first.wait(ctx, 'lives', '')
    await first.close()
    await expect(waiting).rejects.toMatchObject({ code: 'Unavailable' })
    mkdirSync(join(dir, 'state', ctx.namespace, 'empty'))
    mkdirSync(join(dir, 'root', ctx.namespace, 'orphan'))

    const second = await open()
    expect(await second.list(ctx)).toMatchObject([{ id: 'lives', pid, status: 'running' }])
    expect(readdirSync(join(dir, 'state', ctx.namespace))).toEqual(['lives'])
    expect(readdirSync(join(dir, 'root', ctx.namespace))).toEqual(['lives'])
    expect([...monitored.keys()]).toContain('lives')
    const exit = second.wait(ctx, 'lives', '')
    await second.kill(ctx, 'lives', '', 9, false)
    expect(await exit).toMatchObject({ exitStatus: 137 })
    await second.delete(ctx, 'lives', '')
    // The shim is still there for the next one.
    await second.create(ctx, taskOf('next', ['true']))
    await second.delete(ctx, 'next', '')
    expect(shims().length).toBe(1)
  })

  test('tells the end of tasks whose shim has died, while it runs and silently while it does not', async () => {
    const runtime = await open()
    const pid = await runtime.create(ctx, taskOf('a', ['sleep', '100']))
    await runtime.start(ctx, 'a', '')
    const waiting = runtime.wait(ctx, 'a', '')
    waiting.catch(() => {})
    for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')
    await expect(waiting).rejects.toMatchObject({ code: 'Unavailable' })
    await expect.poll(() => topicsOf('a').slice(-2), { timeout: 5000 }).toEqual(['daemon /tasks/exit', 'daemon /tasks/delete'])
    expect(heard.find(({ by, topic }) => by === 'daemon' && topic === '/tasks/exit')).toMatchObject({ exitStatus: 137 })
    await expect(runtime.state(ctx, 'a', '')).rejects.toMatchObject({ code: 'NotFound' })
    expect(isAlive(pid)).toBe(false)
    expect(existsSync(bundle('a'))).toBe(false)

    await runtime.create(ctx, taskOf('a', ['sleep', '100']))
    await runtime.close()
    for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')
    const told = () => heard.filter(({ by }) => by === 'daemon').length
    const before = told()
    const next = await open()
    expect(await next.list(ctx)).toEqual([])
    expect(existsSync(bundle('a'))).toBe(false)
    expect(told()).toBe(before)
  })

  test('answers what the runtime can do', async () => {
    const runtime = await open()
    const info = await runtime.info(ctx, '', undefined)
    expect(info.typeUrl).toBe('containerd.types.RuntimeInfo')
    expect(Buffer.from(info.value).toString()).toContain('io.containerd.runc.v2')
  })
})

function specOf(cgroup: string, args: readonly string[]): Any {
  const spec = {
    ociVersion: '1.0.2',
    process: { user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin'], cwd: '/' },
    root: { path: 'rootfs' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
    ],
    linux: { cgroupsPath: `/${cgroup}`, namespaces: [{ type: 'pid' }, { type: 'mount' }] },
  }
  return { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from(JSON.stringify(spec)) }
}

/** Processes whose command line names the directory. */
function processesOf(dir: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dir)
      } catch {
        return false
      }
    })
    .map(Number)
}

/** False for a zombie too: not everybody's init collects them. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
