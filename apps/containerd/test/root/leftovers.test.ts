import { closeSync, constants, openSync, readdirSync, readlinkSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type Containerd, connect } from '@containerd-ts/client'
import { makeFifo } from '@containerd-ts/linux'
import { eventually, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { busyboxRootfs, busyboxSpec, createBare, nowhere, processSpec, type StdioPaths } from './bare-container.js'

/** How the streams of containers and of further processes are, each in its turn. */
const kinds = ['none', 'fifos', 'terminal', 'file', 'logger'] as const
/** What becomes of further processes, each in its turn. */
const execs = ['none', 'terminal', 'fifos', 'missing', 'never started', 'outlived'] as const

// Many containers and further processes come and go; what the daemon and the shim hold is then what it was. Needs root.
describe.runIf(process.getuid?.() === 0)('after the deletion of everything', () => {
  const namespace = `leftovers-${process.pid}`
  let dir: string
  let daemon: TestDaemon
  let containerd: Containerd
  let rootfs: string
  let shim: number
  let count = 0

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'leftovers-'))
    rootfs = await busyboxRootfs(join(dir, 'rootfs'))
    await writeFile(join(dir, 'logger'), '#!/bin/sh\nexec 5>&-\nexec cat <&3 >/dev/null\n')
    await chmod(join(dir, 'logger'), 0o755)
    daemon = await startDaemon({
      dir: join(dir, 'd'),
      config: `version = 2
[debug]
  address = "${join(dir, 'debug.sock')}"
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "${join(dir, 's')}"
`,
    })
    containerd = connect(daemon.address, { namespace })
    // It keeps the shim.
    await createBare(containerd, { id: 'anchor', rootfs, spec: spec('anchor') })
    await containerd.tasks.start({ containerId: 'anchor' })
    shim = await shimPid()
  })
  afterAll(async () => {
    if (shim !== undefined) await end('anchor')
    containerd?.close()
    await daemon?.stop()
    await rm(dir, { recursive: true, force: true })
  })

  test('neither the daemon nor its shim holds more than before', async () => {
    // What is made once, such as connections and threads, is no leftover.
    await manyContainers(2 * kinds.length)
    const before = await settled()
    expect(before.daemon).toMatchObject({ tasks: 1, tables: 1, processes: 1, creating: 0, recovering: 0, clearing: 0, shims: 1 })
    expect(before.shim).toMatchObject({ containers: 1, execs: 0, creating: 0, followed: 1, earlyExits: 0, expectations: 0 })
    await manyContainers(100)
    await expectToBe(before)
  })

  test('one container with many processes is not held to its end', async () => {
    const id = 'host'
    await createBare(containerd, { id, rootfs, spec: spec(id) })
    await containerd.tasks.start({ containerId: id })
    try {
      const all = async () => {
        for (const kind of execs) if (kind !== 'outlived') await exec(id, kind)
      }
      await all()
      const before = await settled()
      for (let round = 0; round < 5; round++) await all()
      await expectToBe(before)
    } finally {
      await end(id)
    }
  })

  function spec(id: string, terminal = false): object {
    return busyboxSpec(['sleep', '1000'], `/${namespace}-${id}`, terminal)
  }

  async function manyContainers(many: number): Promise<void> {
    const first = count
    count += many
    const numbers = Array.from({ length: many }, (_, n) => first + n)
    const work = async () => {
      for (let n = numbers.shift(); n !== undefined; n = numbers.shift()) await container(n)
    }
    await Promise.all([work(), work(), work(), work()])
  }

  async function container(n: number): Promise<void> {
    const id = `container-${n}`
    const kind = kinds[n % kinds.length] ?? 'none'
    const streams = await openStreams(kind)
    try {
      if (n % 11 === 3) {
        const broken = busyboxSpec([], `/${namespace}-${id}`, kind === 'terminal')
        Object.assign((broken as { process: object }).process, { args: ['missing'] })
        await expect(createBare(containerd, { id, rootfs, spec: broken, stdio: streams.paths })).rejects.toThrow('missing')
        await containerd.containers.delete({ id })
        return
      }
      await createBare(containerd, { id, rootfs, spec: spec(id, kind === 'terminal'), stdio: streams.paths })
      if (n % 11 === 7) {
        await containerd.tasks.delete({ containerId: id })
        await containerd.containers.delete({ id })
        return
      }
      await containerd.tasks.start({ containerId: id })
      for (let i = 0; i < 3; i++) await exec(id, execs[(n + i) % execs.length] ?? 'none')
      await end(id)
    } finally {
      await streams.close()
    }
  }

  async function exec(containerId: string, kind: (typeof execs)[number]): Promise<void> {
    const { tasks } = containerd
    const execId = `exec-${count++}`
    const streams = await openStreams(kind === 'fifos' || kind === 'none' ? kind : 'terminal')
    const args =
      kind === 'missing' ? ['missing'] : kind === 'outlived' ? ['busybox', 'sleep', '1000'] : ['busybox', 'echo', 'word']
    try {
      await tasks.exec({ containerId, execId, spec: processSpec(args), ...streams.paths })
      if (kind === 'missing') await expect(tasks.start({ containerId, execId })).rejects.toThrow('missing')
      else if (kind !== 'never started') {
        const exit = tasks.wait({ containerId, execId })
        await tasks.start({ containerId, execId })
        // The task takes it along.
        if (kind === 'outlived') return
        await exit
      }
      await tasks.deleteProcess({ containerId, execId })
    } finally {
      await streams.close()
    }
  }

  async function end(containerId: string): Promise<void> {
    const { tasks, containers } = containerd
    const exit = tasks.wait({ containerId })
    await tasks.kill({ containerId, signal: 9 })
    await exit
    await tasks.delete({ containerId })
    await containers.delete({ id: containerId })
  }

  async function openStreams(kind: (typeof kinds)[number]): Promise<{ paths: StdioPaths; close(): Promise<void> }> {
    const nothing = { close: async () => {} }
    if (kind === 'none') return { paths: nowhere, ...nothing }
    if (kind === 'file') return { paths: { ...nowhere, stdout: `file://${join(dir, 'output')}` }, ...nothing }
    if (kind === 'logger') return { paths: { ...nowhere, stdout: `binary://${join(dir, 'logger')}` }, ...nothing }
    const at = await mkdtemp(join(dir, 'fifos-'))
    const [stdin, stdout, stderr] = ['stdin', 'stdout', 'stderr'].map((name) => join(at, name)) as [string, string, string]
    const fds = [stdin, stdout, stderr].map((path) => {
      makeFifo(path, 0o700)
      return openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
    })
    const close = async () => {
      for (const fd of fds) closeSync(fd)
      await rm(at, { recursive: true })
    }
    const terminal = kind === 'terminal'
    return { paths: { stdin, stdout, stderr: terminal ? '' : stderr, terminal }, close }
  }

  interface Held {
    daemon: Record<string, number>
    shim: Record<string, number>
    monitored: number
    descriptors: { daemon: string[]; shim: string[] }
  }

  /** What both hold, once two looks in a row see the same. */
  async function settled(): Promise<Held> {
    let last = await held()
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 300))
      const next = await held()
      if (same(last, next)) return next
      last = next
    }
  }

  async function expectToBe(before: Held): Promise<void> {
    await eventually('all is let go', async () => (same(await held(), before) ? true : undefined)).catch(() => {})
    expect(await held()).toEqual(before)
  }

  async function held(): Promise<Held> {
    const { plugins } = JSON.parse(await httpGet(join(dir, 'debug.sock'), '/debug/vars')) as {
      plugins: Record<string, Record<string, number>>
    }
    return {
      daemon: plugins['io.containerd.runtime.v2.task'] ?? {},
      monitored: plugins['io.containerd.monitor.task.v1.cgroups']?.['tasks'] ?? -1,
      shim: await shimDiagnostics(),
      descriptors: { daemon: descriptors(daemon.pid), shim: descriptors(shim) },
    }
  }

  /** What the descriptors of a process are; those of the databases come and go by themselves. */
  function descriptors(pid: number): string[] {
    return readdirSync(`/proc/${pid}/fd`)
      .flatMap((fd) => {
        try {
          return [readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:\[\d+\]$/, '')]
        } catch {
          return []
        }
      })
      .filter((target) => !target.startsWith(daemon.root))
      .sort()
  }

  async function shimDiagnostics(): Promise<Record<string, number>> {
    const lines = async () => (await daemon.log()).split('\n').filter((line) => line.includes('msg=diagnostics'))
    const before = (await lines()).length
    process.kill(shim, 'SIGUSR1')
    const line = await eventually('the shim tells what it holds', async () => (await lines())[before])
    const quoted = /held=("(?:[^"\\]|\\.)*")/.exec(line)?.[1] ?? ''
    return JSON.parse(JSON.parse(quoted) as string) as Record<string, number>
  }

  async function shimPid(): Promise<number> {
    for (const pid of await readdir('/proc')) {
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
      if (words[words.indexOf('-namespace') + 1] === namespace) return Number(pid)
    }
    throw new Error('there is no shim')
  }
})

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function httpGet(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, agent: false }, (response) => text(response).then(resolve, reject))
      .on('error', reject)
      .end()
  })
}
