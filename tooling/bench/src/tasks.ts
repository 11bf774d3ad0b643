import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as rest } from 'node:timers/promises'
import { packAny } from '@containerd-ts/api'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { type Containerd, connect, ociSpec } from '@containerd-ts/client'
import { buildBusyboxImage, mustExec, prepareCgroups, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { atOnce, median, times } from './measure.js'

/*
 * `bench:tasks [rounds] [execs]`: tasks of this daemon and of Debian's containerd in turn, round by round, with runc below both, and of
 * this daemon with crun. A task gets a root filesystem that is there already, so that nothing but tasks is measured.
 */

interface Subject {
  name: string
  dir: string
  daemon: TestDaemon
  containerd: Containerd
  runtime: { name: string; options?: ReturnType<typeof packAny> }
}

const runtimeName = 'io.containerd.runc.v2'
const rootfsType = { type: 'bind', options: ['rbind', 'ro'], target: '' }
const specType = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'
const processType = 'types.containerd.io/opencontainers/runtime-spec/1/Process'
const image = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, config: { Env: ['PATH=/bin'] } }
const nowhere = { stdin: '', stdout: '', stderr: '', terminal: false }

async function main(): Promise<void> {
  const [rounds = 15, execs = 2000] = process.argv.slice(2).map(Number)
  const dir = await mkdtemp(join(tmpdir(), 'bench-'))
  const subjects: Subject[] = []
  try {
    const rootfs = await makeRootfs(dir)
    subjects.push(await start('containerd', join(dir, 'theirs'), 'containerd'))
    subjects.push(await start('ours', join(dir, 'ours')))
    prepareCgroups()
    subjects.push(await start('ours with crun', join(dir, 'crun'), undefined, '/usr/bin/crun'))
    const report = (name: string, unit: string, figures: readonly number[]) => {
      const [theirs = Number.NaN, ours = Number.NaN] = figures
      const cells = figures.map((figure) => figure.toFixed(2).padStart(12)).join('')
      process.stdout.write(`${`${name} (${unit})`.padEnd(44)}${cells}${(ours / theirs).toFixed(2).padStart(10)}\n`)
    }
    process.stdout.write(`${''.padEnd(44)}${subjects.map(({ name }) => name.padStart(14).slice(-14)).join('')}  ours/theirs\n`)
    report('run to exit, one at a time', 'ms', await inTurn(subjects, rounds, (subject) => run(subject, rootfs)))
    report('run to exit, 8 at once', 'ms each', await eightAtOnce(subjects, rounds, rootfs))
    report('exec to exit', 'ms', await inExec(subjects, rounds * 2, rootfs))
    const memory = await memories(subjects, rootfs, [1, 10, 50])
    for (const [count, figures] of memory) report(`memory (PSS) of all shims, ${count} containers`, 'MB', figures)
    for (const [what, figures] of await afterExecs(subjects, rootfs, execs)) report(what, 'MB', figures)
    report('stdout of a container', 'MB/s', await throughput(subjects, rootfs))
  } finally {
    for (const { containerd, daemon } of subjects) {
      containerd.close()
      await daemon.stop()
    }
    await rm(dir, { recursive: true, force: true })
  }
}

async function start(name: string, dir: string, command?: string, runc?: string): Promise<Subject> {
  const daemon = await startDaemon({ dir, ...(command !== undefined && { command }), logLevel: 'info' })
  const options =
    runc === undefined
      ? {}
      : { options: packAny('containerd.runc.v1.Options', Options, Options.fromPartial({ binaryName: runc })) }
  return {
    name,
    dir,
    daemon,
    containerd: connect(daemon.address, { namespace: 'bench' }),
    runtime: { name: runtimeName, ...options },
  }
}

async function makeRootfs(dir: string): Promise<string> {
  const { layout } = await buildBusyboxImage(dir)
  const rootfs = join(dir, 'rootfs')
  // Mounted read-only, so that it needs the places that others are mounted at.
  await mkdir(join(rootfs, 'run'), { recursive: true })
  for (const blob of await readdir(join(layout, 'blobs/sha256'))) {
    const path = join(layout, 'blobs/sha256', blob)
    const start = (await readFile(path)).subarray(0, 2)
    if (start.equals(Buffer.from([0x1f, 0x8b]))) await mustExec('tar', ['-C', rootfs, '--exclude=.wh.*', '-xzf', path])
  }
  return rootfs
}

let count = 0

async function create({ containerd, runtime }: Subject, rootfs: string, args: string[], stdio = nowhere): Promise<string> {
  const id = `task-${count++}`
  const spec = ociSpec(image, { args, cgroupsPath: `/bench/${id}` })
  await containerd.containers.create({
    container: { id, runtime, spec: { typeUrl: specType, value: Buffer.from(JSON.stringify(spec)) } },
  })
  await containerd.tasks.create({ containerId: id, rootfs: [{ ...rootfsType, source: rootfs }], ...stdio })
  return id
}

async function remove({ containerd }: Subject, id: string): Promise<void> {
  await containerd.tasks.delete({ containerId: id })
  await containerd.containers.delete({ id })
}

async function run(subject: Subject, rootfs: string): Promise<void> {
  const { tasks } = subject.containerd
  const id = await create(subject, rootfs, ['true'])
  const exit = tasks.wait({ containerId: id })
  await tasks.start({ containerId: id })
  await exit
  await remove(subject, id)
}

async function runForGood(subject: Subject, rootfs: string): Promise<string> {
  const id = await create(subject, rootfs, ['sleep', '100000'])
  await subject.containerd.tasks.start({ containerId: id })
  return id
}

async function end(subject: Subject, id: string): Promise<void> {
  const { tasks } = subject.containerd
  const exit = tasks.wait({ containerId: id })
  await tasks.kill({ containerId: id, signal: 9 })
  await exit
  await remove(subject, id)
}

async function execute({ containerd: { tasks } }: Subject, containerId: string, execId: string): Promise<void> {
  const process = { user: { uid: 0, gid: 0 }, args: ['true'], env: ['PATH=/bin'], cwd: '/' }
  const spec = { typeUrl: processType, value: Buffer.from(JSON.stringify(process)) }
  await tasks.exec({ containerId, execId, spec, ...nowhere })
  const exit = tasks.wait({ containerId, execId })
  await tasks.start({ containerId, execId })
  await exit
  await tasks.deleteProcess({ containerId, execId })
}

/** Medians of operations that are done by one subject after the other, over and over. */
async function inTurn(
  subjects: readonly Subject[],
  rounds: number,
  operation: (subject: Subject) => Promise<void>,
): Promise<number[]> {
  const measured = subjects.map((): number[] => [])
  for (const subject of subjects) await operation(subject)
  for (let round = 0; round < rounds; round++) {
    // What one leaves the kernel to do, the next would wait for.
    for (const index of round % 2 === 0 ? subjects.keys() : [...subjects.keys()].reverse()) {
      await rest(50)
      measured[index]?.push(...(await times(1, () => operation(subjects[index] as Subject))))
    }
  }
  return measured.map((values) => median(values.sort((a, b) => a - b)))
}

async function eightAtOnce(subjects: readonly Subject[], rounds: number, rootfs: string): Promise<number[]> {
  const width = 8
  const each = await inTurn(subjects, Math.ceil(rounds / 3), (subject) => atOnce(width, width * 3, () => run(subject, rootfs)))
  return each.map((ms) => ms / (width * 3))
}

async function inExec(subjects: readonly Subject[], rounds: number, rootfs: string): Promise<number[]> {
  const ids = new Map<Subject, string>()
  for (const subject of subjects) ids.set(subject, await runForGood(subject, rootfs))
  let execs = 0
  const figures = await inTurn(subjects, rounds, (subject) => execute(subject, ids.get(subject) ?? '', `exec-${execs++}`))
  for (const [subject, id] of ids) await end(subject, id)
  return figures
}

async function memories(subjects: readonly Subject[], rootfs: string, counts: readonly number[]): Promise<[number, number[]][]> {
  const rows = counts.map((wanted): [number, number[]] => [wanted, []])
  for (const subject of subjects) {
    const ids: string[] = []
    for (const [wanted, figures] of rows) {
      while (ids.length < wanted) ids.push(await runForGood(subject, rootfs))
      await rest(2000)
      figures.push(await shimMemory(subject))
    }
    await atOnce(4, ids.length, (n) => end(subject, ids[n] ?? ''))
  }
  return rows
}

async function afterExecs(subjects: readonly Subject[], rootfs: string, execs: number): Promise<[string, number[]][]> {
  const before: number[] = []
  const after: number[] = []
  for (const subject of subjects) {
    const id = await runForGood(subject, rootfs)
    // What a process has once it has done a little of everything is no growth.
    await atOnce(4, 1000, (n) => execute(subject, id, `warm-${n}`))
    await rest(3000)
    before.push(await shimMemory(subject))
    await atOnce(4, execs, (n) => execute(subject, id, `exec-${n}`))
    await rest(3000)
    after.push(await shimMemory(subject))
    await end(subject, id)
  }
  return [
    ['memory (PSS) after 1000 execs', before],
    [`memory (PSS) after ${execs} more`, after],
  ]
}

/** The proportional memory of every shim of a subject, in MB. */
async function shimMemory({ dir }: Subject): Promise<number> {
  let kilobytes = 0
  for (const pid of await readdir('/proc')) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (!command.includes('-namespace') || !command.includes(dir)) continue
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
    kilobytes += Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1] ?? 0)
  }
  return kilobytes / 1000
}

const megabytes = 2000

async function throughput(subjects: readonly Subject[], rootfs: string): Promise<number[]> {
  const seconds = await inTurn(subjects, 3, async (subject) => {
    const fifo = join(subject.dir, 'stdout')
    await rm(fifo, { force: true })
    await mustExec('mkfifo', [fifo])
    const reader = spawn('dd', [`if=${fifo}`, 'of=/dev/null', 'bs=64k'], { stdio: 'ignore' })
    const read = once(reader, 'close')
    const id = await create(subject, rootfs, ['dd', 'if=/dev/zero', 'bs=1M', `count=${megabytes}`], {
      ...nowhere,
      stdout: fifo,
      stderr: fifo,
    })
    const exit = subject.containerd.tasks.wait({ containerId: id })
    await subject.containerd.tasks.start({ containerId: id })
    await Promise.all([exit, read])
    await remove(subject, id)
  })
  return seconds.map((ms) => megabytes / (ms / 1000))
}

await main()
