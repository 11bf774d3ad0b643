import { EventEmitter, on } from 'node:events'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { release, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Any } from '@containerd-ts/api'
import { TaskExit } from '@containerd-ts/api/containerd/events/task'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/ttrpc/v1/events'
import { background, type Context, type CreateTask, type Envelope, type MonitoredTask } from '@containerd-ts/interface'
import { closeAll, createReaper, holdFifo, makeFifo, type Reaper } from '@containerd-ts/linux'
import { silentLogger } from '@containerd-ts/plugin'
import { serveTtrpc, type TtrpcServer } from '@containerd-ts/ttrpc'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ShimScope, scopes } from '../../src/config.js'
import type { ShimLimits } from '../../src/limits.js'
import { createRuntime, type LinuxRuntime } from '../../src/runtime.js'
import { createShimFinder } from '../../src/shim-binary.js'
import { createShimCommands } from '../../src/shim-command.js'

const shim = fileURLToPath(new URL('../../../../apps/containerd-shim/bin/containerd-shim', import.meta.url))
const canRun = process.getuid?.() === 0 && existsSync(shim) && existsSync(join(shim, '../../dist/containerd-shim.cjs'))
if (!canRun) console.log('skipped: needs root and a built apps/containerd-shim')

const debianShim = '/usr/bin/containerd-shim-runc-v2'
const [major = 0, minor = 0] = release().split('.').map(Number)
/** Whether the kernel tells how a process has ended that is nobody's child here. */
const kernelTells = major > 6 || (major === 6 && minor >= 15)
/** An exit status as it is known of a process that is nobody's child here; older kernels tell it now and then. */
const known = (status: number) => (kernelTells ? status : expect.toBeOneOf([status, 255]))

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
  let forwarded: EventEmitter
  /** Whether the runtime misses what the shims tell. */
  let deaf: boolean

  const hear = (by: Heard['by'], topic: string, event: Any | undefined) => {
    // Every task event has the container's id first, and an exit its status fourth.
    const { containerId, exitStatus } = TaskExit.decode(event?.value ?? new Uint8Array(0))
    heard.push({ topic, id: containerId, by, ...(topic === '/tasks/exit' ? { exitStatus } : {}) })
  }

  const open = async (
    idleMs = 60_000,
    { scope = 'namespace', program = shim, ...changedLimits }: Partial<ShimLimits> & { scope?: ShimScope; program?: string } = {},
    recovering?: Promise<void>[],
  ): Promise<LinuxRuntime> => {
    const commands = createShimCommands({
      reaper,
      address: join(dir, 'containerd.sock'),
      ttrpcAddress: join(dir, 'containerd.sock.ttrpc'),
      version: 'v2.3.4',
      debug: false,
      env: ['SHIM_TEST=1'],
      socketDir: join(dir, 's'),
      cleanupMs: 5000,
    })
    const runtime = createRuntime({
      roots: { root: join(dir, 'root'), state: join(dir, 'state') },
      events: {
        publish: async (_ctx, topic, event) => hear('daemon', topic, event),
        subscribe: ({ signal }) => subscriptionTo(forwarded, signal),
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
      findShim: createShimFinder(program),
      scope,
      idleMs,
      limits: { ...limits, ...changedLimits },
      lookEveryMs: 200,
    })
    runtimes.push(runtime)
    const recovered = runtime.recover()
    if (recovering === undefined) await recovered
    else recovering.push(recovered)
    return runtime
  }

  const taskOf = (id: string, args: string[], more: Partial<CreateTask> = {}): CreateTask => ({
    containerId: id,
    spec: specOf(`${basename(dir)}-${id}`, args, more.terminal),
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
    deaf = false
    forwarded = new EventEmitter()
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
              forward: async (_ctx: unknown, { envelope }: { envelope?: Envelope }) => {
                hear('shim', envelope?.topic ?? '', envelope?.event)
                if (envelope !== undefined && !deaf) forwarded.emit('envelope', envelope)
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
    const last = await open(0)
    for (const { id } of await last.list(ctx)) {
      await last.kill(ctx, id, '', 9, true).catch(() => {})
      await last.wait(ctx, id, '')
      await last.delete(ctx, id, '')
    }
    await last.close()
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

  test('finds its tasks again in its next life, with the exits that it missed', async () => {
    const first = await open()
    const pid = await first.create(ctx, taskOf('lives', ['sh', '-c', 'trap "exit 17" TERM; while :; do sleep 0.05; done']))
    await first.start(ctx, 'lives', '')
    await first.exec(ctx, 'lives', execOf('exec', ['sh', '-c', 'trap "exit 18" TERM; while :; do sleep 0.05; done']))
    const execPid = await first.start(ctx, 'lives', 'exec')
    await first.create(ctx, taskOf('ends', ['sh', '-c', 'sleep 0.3; exit 19']))
    await first.start(ctx, 'ends', '')
    const waiting = first.wait(ctx, 'lives', '')
    waiting.catch(() => {})
    await first.close()
    await expect(waiting).rejects.toMatchObject({ code: 'Unavailable' })
    mkdirSync(join(dir, 'state', ctx.namespace, 'empty'))
    mkdirSync(join(dir, 'root', ctx.namespace, 'orphan'))
    await sleep(500)

    const second = await open()
    expect((await second.list(ctx)).sort((a, b) => a.id.localeCompare(b.id))).toMatchObject([
      { id: 'ends', status: 'stopped', exitStatus: 19 },
      { id: 'lives', pid, status: 'running' },
    ])
    expect(readdirSync(join(dir, 'state', ctx.namespace)).sort()).toEqual(['ends', 'lives'])
    expect(readdirSync(join(dir, 'root', ctx.namespace)).sort()).toEqual(['ends', 'lives'])
    expect([...monitored.keys()]).toContain('lives')
    expect(await second.wait(ctx, 'ends', '')).toMatchObject({ exitStatus: 19 })
    expect(await second.state(ctx, 'lives', 'exec')).toMatchObject({ id: 'exec', pid: execPid, status: 'running' })
    const [exit, execExit] = [second.wait(ctx, 'lives', ''), second.wait(ctx, 'lives', 'exec')]
    await second.kill(ctx, 'lives', 'exec', 15, false)
    expect(await execExit).toMatchObject({ exitStatus: 18 })
    await second.kill(ctx, 'lives', '', 15, false)
    expect(await exit).toMatchObject({ exitStatus: 17 })
    expect(await second.delete(ctx, 'lives', '')).toMatchObject({ pid, exitStatus: 17 })
    expect(await second.delete(ctx, 'ends', '')).toMatchObject({ exitStatus: 19 })
    // The shim is still there for the next one.
    await second.create(ctx, taskOf('next', ['true']))
    await second.delete(ctx, 'next', '')
    expect(shims().length).toBe(1)
  })

  test.each(['namespace', 'container'] as const)(
    'has another shim take over when one is killed, with one per %s',
    async (scope) => {
      const runtime = await open(60_000, { scope })
      const fifo = (name: string) => {
        const path = join(dir, name)
        makeFifo(path, 0o600)
        return { path, fd: holdFifo(path) }
      }
      const [out, err] = [fifo('out'), fifo('err')]
      const script = 'trap "echo bye; exit 17" TERM; n=0; while :; do echo $n; n=$((n+1)); sleep 0.02; done'
      const pid = await runtime.create(ctx, taskOf('a', ['sh', '-c', script], { stdout: out.path, stderr: err.path }))
      await runtime.start(ctx, 'a', '')
      await runtime.exec(ctx, 'a', execOf('exec', ['sh', '-c', 'while ! test -e /dev/stop; do sleep 0.1; done; exit 18']))
      const execPid = await runtime.start(ctx, 'a', 'exec')
      await runtime.create(ctx, taskOf('created', ['sh', '-c', 'exit 20']))
      const waits = [runtime.wait(ctx, 'a', ''), runtime.wait(ctx, 'a', 'exec'), runtime.wait(ctx, 'created', '')]
      await runtime.exec(ctx, 'a', execOf('registered', ['sh', '-c', 'exit 22']))
      for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')

      await expect.poll(() => runtime.state(ctx, 'a', '')).toMatchObject({ pid, status: 'running' })
      expect(await runtime.state(ctx, 'a', 'exec')).toMatchObject({ pid: execPid, status: 'running' })
      expect(await runtime.state(ctx, 'created', '')).toMatchObject({ status: 'created' })
      await expect.poll(() => shims().length).toBe(scope === 'namespace' ? 1 : 2)
      expect((await runtime.pids(ctx, 'a')).map((process) => process.pid)).toEqual(expect.arrayContaining([pid, execPid]))
      await runtime.exec(ctx, 'a', execOf('another', ['sh', '-c', ': > /dev/stop; exit 21']))
      await runtime.start(ctx, 'a', 'another')
      expect(await runtime.wait(ctx, 'a', 'another')).toMatchObject({ exitStatus: 21 })
      await runtime.start(ctx, 'a', 'registered')
      expect(await runtime.wait(ctx, 'a', 'registered')).toMatchObject({ exitStatus: 22 })
      await runtime.start(ctx, 'created', '')
      await waits[1]
      await runtime.kill(ctx, 'a', '', 15, false)
      const statuses = (await Promise.all(waits)).map(({ exitStatus }) => exitStatus)
      expect(statuses).toEqual([known(17), known(18), known(20)])
      const written = readAll(out.fd).trim().split('\n')
      expect(written.at(-1)).toBe('bye')
      expect(written.slice(0, -1)).toEqual(written.slice(0, -1).map((_, n) => String(n)))
      await runtime.delete(ctx, 'a', '')
      await runtime.delete(ctx, 'created', '')
      expect(existsSync(bundle('a'))).toBe(false)
      await expect.poll(() => topicsOf('a').filter((topic) => topic.endsWith('exit')).length).toBe(4)
      expect(heard.filter(({ by }) => by === 'daemon')).toEqual([])
      closeAll([out.fd, err.fd])
    },
  )

  test('has another shim take over what a killed one left while no daemon ran', async () => {
    const first = await open()
    const pid = await first.create(ctx, taskOf('lives', ['sleep', '100']))
    await first.start(ctx, 'lives', '')
    await first.create(ctx, taskOf('ends', ['sleep', '100']))
    const ending = await first.start(ctx, 'ends', '')
    await first.close()
    for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')
    await expect.poll(shims).toEqual([])
    process.kill(ending, 'SIGKILL')
    await expect.poll(() => isAlive(ending)).toBe(false)
    const second = await open()
    expect((await second.list(ctx)).sort((a, b) => a.id.localeCompare(b.id))).toMatchObject([
      // Only an init that has not collected it yet could know how.
      { id: 'ends', status: 'stopped', exitStatus: expect.toBeOneOf([137, 255]) },
      { id: 'lives', pid, status: 'running' },
    ])
    await second.kill(ctx, 'lives', '', 9, false)
    expect(await second.wait(ctx, 'lives', '')).toMatchObject({ exitStatus: known(137) })
    for (const id of ['lives', 'ends']) await second.delete(ctx, id, '')
  })

  test('an upgrade leaves running what runs, and starts what is new with what is new', async () => {
    const install = (version: string) => {
      const home = join(dir, version)
      for (const part of ['bin', 'dist']) cpSync(join(shim, '../..', part), join(home, part), { recursive: true })
      symlinkSync(join(shim, '../../node_modules'), join(home, 'node_modules'))
      writeFileSync(join(home, 'package.json'), JSON.stringify({ version }))
      return { home, program: join(home, 'bin/containerd-shim') }
    }
    const [former, latter] = [install('0.0.1'), install('0.0.2')]
    const before = await open(60_000, { program: former.program })
    const pid = await before.create(ctx, taskOf('a', ['sh', '-c', 'trap "exit 17" TERM; while :; do sleep 0.05; done']))
    await before.start(ctx, 'a', '')
    await before.create(ctx, taskOf('unstarted', ['sh', '-c', 'exit 18']))
    await before.close()
    rmSync(former.home, { recursive: true })
    const [old = 0] = shims()

    const after = await open(60_000, { program: latter.program })
    expect(await after.state(ctx, 'a', '')).toMatchObject({ pid, status: 'running' })
    await after.exec(ctx, 'a', execOf('exec', ['sh', '-c', 'exit 19']))
    await after.start(ctx, 'a', 'exec')
    expect(await after.wait(ctx, 'a', 'exec')).toMatchObject({ exitStatus: 19 })
    await after.create(ctx, taskOf('b', ['sleep', '100']))
    await after.start(ctx, 'b', '')
    expect(shims().length).toBe(2)
    expect(existsSync(`/proc/${old}/exe`)).toBe(true)

    // What the old one had is the new one's when it dies.
    process.kill(old, 'SIGKILL')
    await expect.poll(async () => (await after.pids(ctx, 'a')).map((process) => process.pid)).toContain(pid)
    expect(await after.state(ctx, 'unstarted', '')).toMatchObject({ status: 'created' })
    const waits = [after.wait(ctx, 'a', ''), after.wait(ctx, 'unstarted', '')]
    await after.kill(ctx, 'a', '', 15, false)
    await after.start(ctx, 'unstarted', '')
    expect((await Promise.all(waits)).map(({ exitStatus }) => exitStatus)).toEqual([known(17), known(18)])
    await after.kill(ctx, 'b', '', 9, false)
    expect(await after.wait(ctx, 'b', '')).toMatchObject({ exitStatus: 137 })
    for (const id of ['a', 'b', 'unstarted']) await after.delete(ctx, id, '')
    await expect.poll(() => shims().length).toBe(1)
    expect(heard.filter(({ by }) => by === 'daemon')).toEqual([])
  })

  test('stdin stays open without a client while shims come and go, until its end is asked for', async () => {
    const runtime = await open()
    const [stdin, stdout] = ['in', 'out'].map((name) => join(dir, name)) as [string, string]
    for (const path of [stdin, stdout]) makeFifo(path, 0o600)
    const output = holdFifo(stdout)
    await runtime.create(
      ctx,
      taskOf('a', ['sh', '-c', 'while read l; do echo got $l; done; exit 3'], { stdin, stdout, stderr: stdout }),
    )
    await runtime.start(ctx, 'a', '')
    const write = (text: string) => {
      const fd = openSync(stdin, 'w')
      writeSync(fd, text)
      closeSync(fd)
    }
    let screen = ''
    const shows = (text: string) =>
      expect
        .poll(() => {
          screen += readAll(output)
          return screen
        })
        .toContain(text)
    write('one\n')
    await shows('got one')
    for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')
    await expect.poll(async () => (await runtime.pids(ctx, 'a')).length).toBe(1)
    write('two\n')
    await shows('got two')
    const exit = runtime.wait(ctx, 'a', '')
    await runtime.closeIO(ctx, 'a', '', true)
    expect(await exit).toMatchObject({ exitStatus: known(3) })
    await runtime.delete(ctx, 'a', '')
    closeAll([output])
  })

  test.each(scopes)('a terminal outlives its shim, which serves one %s', async (scope) => {
    const runtime = await open(60_000, { scope })
    const [stdin, stdout] = ['in', 'out'].map((name) => join(dir, name)) as [string, string]
    for (const path of [stdin, stdout]) makeFifo(path, 0o600)
    const [input, output] = [holdFifo(stdin), holdFifo(stdout)]
    const task = taskOf('a', ['sh'], { terminal: true, stdin, stdout })
    await runtime.create(ctx, task)
    await runtime.start(ctx, 'a', '')
    let screen = ''
    const shows = (text: string) =>
      expect
        .poll(() => {
          screen += readAll(output)
          return screen
        })
        .toContain(text)
    writeSync(input, 'echo one-$((1+1))\n')
    await shows('one-2')
    for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')
    await expect.poll(async () => (await runtime.pids(ctx, 'a')).length).toBe(1)
    writeSync(input, 'echo two-$((1+2))\n')
    await shows('two-3')
    await runtime.resizePty(ctx, 'a', '', 91, 17)
    writeSync(input, 'exit 5\n')
    expect(await runtime.wait(ctx, 'a', '')).toMatchObject({ exitStatus: known(5) })
    await runtime.delete(ctx, 'a', '')
    closeAll([input, output])
  })

  test.each([
    ['container', 'namespace'],
    ['namespace', 'container'],
  ] as const)('a daemon finds what was left by a dead shim of another scope: %s, now %s', async (before, now) => {
    const runtime = await open(60_000, { scope: before })
    await runtime.create(ctx, taskOf('a', ['sleep', '100']))
    await runtime.start(ctx, 'a', '')
    await runtime.close()
    for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')
    const next = await open(60_000, { scope: now })
    expect((await next.pids(ctx, 'a')).length).toBe(1)
    await next.kill(ctx, 'a', '', 9, false)
    await next.wait(ctx, 'a', '')
    await next.delete(ctx, 'a', '')
  })

  test('a shim in a cgroup of its own is replaced, too, and is no leftover when there is no such cgroup', async () => {
    const runtime = await open()
    const name = `/${basename(dir)}-shims`
    const value = Options.encode(Options.fromPartial({ shimCgroup: name })).finish()
    const task = taskOf('a', ['sleep', '100'], { options: { typeUrl: 'containerd.runc.v1.Options', value } })
    await expect(runtime.create(ctx, task)).rejects.toThrow(`cgroup "${name}" does not exist`)
    expect(shims()).toEqual([])
    const cgroup = join('/sys/fs/cgroup', existsSync('/sys/fs/cgroup/memory') ? 'memory' : '', name)
    mkdirSync(cgroup)
    try {
      await runtime.create(ctx, task)
      await runtime.start(ctx, 'a', '')
      for (const shimPid of shims()) process.kill(shimPid, 'SIGKILL')
      await expect.poll(async () => (await runtime.pids(ctx, 'a')).length).toBe(1)
      expect(readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number)).toEqual(shims())
      await runtime.kill(ctx, 'a', '', 9, false)
      await runtime.wait(ctx, 'a', '')
      await runtime.delete(ctx, 'a', '')
      await expect.poll(shims).toEqual([])
    } finally {
      await expect.poll(() => tryRemove(cgroup)).toBe(true)
    }
  })

  test('a shim that hangs delays nobody but its own containers', async () => {
    const runtime = await open(60_000, { state: 3000, operation: 3000, load: 3000, scope: 'container' })
    for (const id of ['hangs', 'works']) {
      await runtime.create(ctx, taskOf(id, ['sleep', '100']))
      await runtime.start(ctx, id, '')
    }
    const hung = shims().filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('-id\0hangs\0'))
    for (const pid of hung) process.kill(pid, 'SIGSTOP')
    const within = async <T>(limitMs: number, call: Promise<T>): Promise<T> => {
      const started = performance.now()
      const result = await call
      expect(performance.now() - started).toBeLessThan(limitMs)
      return result
    }
    expect(await within(2500, runtime.list(ctx))).toMatchObject([{ status: 'running' }, { status: 'running' }])
    expect(await within(2500, runtime.state(ctx, 'hangs', ''))).toMatchObject({ status: 'running' })
    await expect(within(8000, runtime.kill(ctx, 'hangs', '', 15, false))).rejects.toMatchObject({ code: 'DeadlineExceeded' })
    await within(2500, runtime.kill(ctx, 'works', '', 9, false))
    await runtime.wait(ctx, 'works', '')
    await runtime.delete(ctx, 'works', '')
    await runtime.create(ctx, taskOf('works', ['sleep', '100']))
    await runtime.start(ctx, 'works', '')
    await runtime.close()

    // After a restart too.
    const recovering: Promise<void>[] = []
    const next = await open(60_000, { state: 3000, operation: 3000, load: 6000, scope: 'container' }, recovering)
    expect(await within(2500, next.state(ctx, 'works', ''))).toMatchObject({ status: 'running' })
    const listed = await within(2500, next.list(ctx))
    expect(listed.find(({ id }) => id === 'hangs')).toMatchObject({ status: 'unknown' })
    expect(listed.find(({ id }) => id === 'works')).toMatchObject({ status: 'running' })
    for (const pid of hung) process.kill(pid, 'SIGCONT')
    await Promise.all(recovering)
    await expect.poll(() => next.state(ctx, 'hangs', '')).toMatchObject({ status: 'running' })
    for (const id of ['hangs', 'works']) {
      await next.kill(ctx, id, '', 9, false)
      expect(await next.wait(ctx, id, '')).toMatchObject({ exitStatus: 137 })
      await next.delete(ctx, id, '')
    }
  })

  test('an exit that no event told is found and told', async () => {
    const runtime = await open()
    await runtime.create(ctx, taskOf('a', ['sh', '-c', 'exit 9']))
    const exit = runtime.wait(ctx, 'a', '')
    deaf = true
    await runtime.start(ctx, 'a', '')
    expect(await exit).toMatchObject({ exitStatus: 9 })
    expect(topicsOf('a')).toContain('daemon /tasks/exit')
    await runtime.delete(ctx, 'a', '')
  })

  test.runIf(existsSync(debianShim))('tells the end of tasks whose shim has died when it is not ours', async () => {
    const runtime = await open()
    const pid = await runtime.create(ctx, taskOf('a', ['sleep', '100'], { runtime: debianShim }))
    await runtime.start(ctx, 'a', '')
    const waiting = runtime.wait(ctx, 'a', '')
    waiting.catch(() => {})
    const [shimPid = 0] = readdirSync('/proc').filter(
      (name) => /^\d+$/.test(name) && exeOf(name) === debianShim && cwdOf(name) === bundle('a'),
    )
    process.kill(Number(shimPid), 'SIGKILL')
    await expect(waiting).rejects.toMatchObject({ code: 'NotFound' })
    await expect.poll(() => topicsOf('a').slice(-2), { timeout: 5000 }).toEqual(['daemon /tasks/exit', 'daemon /tasks/delete'])
    expect(heard.find(({ by, topic }) => by === 'daemon' && topic === '/tasks/exit')).toMatchObject({ exitStatus: 137 })
    await expect(runtime.state(ctx, 'a', '')).rejects.toMatchObject({ code: 'NotFound' })
    expect(isAlive(pid)).toBe(false)
    expect(existsSync(bundle('a'))).toBe(false)
  })

  test('answers what the runtime can do', async () => {
    const runtime = await open()
    const info = await runtime.info(ctx, '', undefined)
    expect(info.typeUrl).toBe('containerd.types.RuntimeInfo')
    expect(Buffer.from(info.value).toString()).toContain('io.containerd.runc.v2')
  })
})

const limits: ShimLimits = {
  load: 5000,
  cleanup: 5000,
  shutdown: 3000,
  state: 2000,
  stats: 2000,
  operation: 60_000,
  checkpoint: 60_000,
}

/** What an exchange would give a subscriber of everything. */
async function* subscriptionTo(forwarded: EventEmitter, signal: AbortSignal): AsyncIterable<Envelope> {
  try {
    for await (const [envelope] of on(forwarded, 'envelope', { signal })) yield envelope as Envelope
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

function specOf(cgroup: string, args: readonly string[], terminal = false): Any {
  const spec = {
    ociVersion: '1.0.2',
    process: { terminal, user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin'], cwd: '/' },
    root: { path: 'rootfs' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
      { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] },
    ],
    linux: { cgroupsPath: `/${cgroup}`, namespaces: [{ type: 'pid' }, { type: 'mount' }] },
  }
  return { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from(JSON.stringify(spec)) }
}

function execOf(execId: string, args: readonly string[]) {
  const process = { user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin'], cwd: '/' }
  const spec = {
    typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
    value: Buffer.from(JSON.stringify(process)),
  }
  return { execId, spec, stdin: '', stdout: '', stderr: '', terminal: false }
}

/** What a FIFO holds now. */
function readAll(fd: number): string {
  const chunk = Buffer.alloc(65_536)
  try {
    return chunk.toString('utf8', 0, readSync(fd, chunk))
  } catch {
    return ''
  }
}

function exeOf(pid: string): string {
  return linkOf(`/proc/${pid}/exe`)
}

function cwdOf(pid: string): string {
  return linkOf(`/proc/${pid}/cwd`)
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
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

/** A cgroup stays busy for a moment after its last process. */
function tryRemove(cgroup: string): boolean {
  try {
    rmdirSync(cgroup)
    return true
  } catch {
    return false
  }
}
