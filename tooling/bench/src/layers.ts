import { appendFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { mountAll, unmountAll } from '@containerd-ts/mount'
import { buildBusyboxImage, mustExec, startRegistry } from '@containerd-ts/testkit'
import { makeFreshDisk } from './fresh-disk.js'
import { buildLargeImage } from './large-image.js'
import { type Latency, latencyDuring } from './latency.js'
import { median, times } from './measure.js'
import { peakMemory, processorTime, resetPeakMemory } from './process-figures.js'
import { type Subject, startSubject } from './workloads.js'

/** Figures by what they are of. */
type Figures = Map<string, number[]>

interface Run {
  subject: Subject
  dir: string
  figures: Figures
}

const rounds = Number(process.argv.find((argument) => /^\d+$/.test(argument)) ?? 3)
const changedFiles = 10_000

/**
 * Layers: this daemon and Debian's containerd in turn, each round with new daemons on new disks. What containerd does not do unless it
 * is told to, to write a layer to disk before it is named, this daemon does here too.
 */
async function main(): Promise<void> {
  const dir = await mkdtemp(join(process.env['BENCH_DIR'] ?? '/var/tmp', 'bench-layers-'))
  const registry = await startRegistry(join(dir, 'registry'))
  const theirs: Figures = new Map()
  const ours: Figures = new Map()
  try {
    const small = await buildBusyboxImage(await made(dir, 'small'))
    await registry.push(small.layout, 'library/small:latest')
    const large = await buildLargeImage(join(dir, 'large'))
    await registry.push(large.layout, 'library/large:latest')
    process.stdout.write(`large image: ${large.files} files, ${large.megabytes} MB\n`)
    const images = { small: `${registry.host}/library/small:latest`, large: `${registry.host}/library/large:latest` }
    for (let round = 0; round < rounds; round++) {
      await measureDaemon(join(dir, `theirs-${round}`), 'containerd', images, theirs)
      await measureDaemon(join(dir, `ours-${round}`), undefined, images, ours)
    }
    process.stdout.write(table(theirs, ours))
  } finally {
    await registry.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

async function measureDaemon(dir: string, command: string | undefined, images: Images, figures: Figures): Promise<void> {
  const disk = await makeFreshDisk(dir)

  try {
    const subject = await startSubject(disk.path, command, images.large)
    try {
      await pull(subject, images.small)
      await measureRound({ subject, dir: disk.path, figures }, images)
    } finally {
      subject.containerd.close()
      await subject.daemon.stop()
    }
  } finally {
    await disk.remove()
  }
}

interface Images {
  small: string
  large: string
}

async function measureRound(run: Run, images: Images): Promise<void> {
  const { subject } = run
  const { pid } = subject.daemon
  const note = (name: string, value: number) => run.figures.set(name, [...(run.figures.get(name) ?? []), value])
  const noteLatency = (name: string, { p99, max }: Latency) => {
    note(`${name}: other calls, p99 (ms)`, p99)
    note(`${name}: other calls, slowest (ms)`, max)
  }

  await remove(subject, images.small)
  note('pull and unpack small (ms)', await timed(() => pull(subject, images.small)))

  await mustExec('sync', [])
  await resetPeakMemory(pid)
  const before = await processorTime(pid)
  let elapsed = 0
  const latency = await latencyDuring(subject.containerd, async () => {
    elapsed = await timed(() => pull(subject, images.large))
  })
  note('pull and unpack large (ms)', elapsed)
  note('pull and unpack large: processor time (ms)', (await processorTime(pid)) - before)
  noteLatency('pull and unpack large', latency)
  note('pull and unpack large: peak memory (MB)', await peakMemory(pid))

  await mustExec('sync', [])
  await measureDiff(run, note, noteLatency)
  note('prepare+commit+remove (ms)', await measureSnapshots(subject))
}

/** The layer of a container that has changed many files of a large image. */
async function measureDiff(
  { subject, dir }: Run,
  note: (name: string, value: number) => void,
  noteLatency: (name: string, latency: Latency) => void,
): Promise<void> {
  const { containerd, daemon } = subject
  const { snapshots, diff, content } = containerd
  const snapshotter = 'overlayfs'
  const parent = await topSnapshot(subject)
  const labels = { 'containerd.io/gc.root': 'bench' }
  const { mounts: upper } = await snapshots.prepare({ snapshotter, key: 'changed', parent, labels })
  const { mounts: lower } = await snapshots.view({ snapshotter, key: 'unchanged', parent, labels })
  const root = await made(dir, 'root')
  await mountAll(upper, root)
  try {
    let changed = 0
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || changed === changedFiles) continue
      await appendFile(join(entry.parentPath, entry.name), 'changed\n')
      changed++
    }
  } finally {
    await unmountAll(root)
  }
  await mustExec('sync', [])
  await resetPeakMemory(daemon.pid)
  let elapsed = 0
  let digest = ''
  const latency = await latencyDuring(containerd, async () => {
    elapsed = await timed(async () => {
      digest = (await diff.diff({ left: lower, right: upper, labels })).diff?.digest ?? ''
    })
  })
  note(`diff of ${changedFiles} changed files (ms)`, elapsed)
  noteLatency('diff', latency)
  note('diff: peak memory (MB)', await peakMemory(daemon.pid))
  await content.delete({ digest })
  for (const key of ['changed', 'unchanged']) await snapshots.remove({ snapshotter, key })
}

async function measureSnapshots(subject: Subject): Promise<number> {
  const { snapshots } = subject.containerd
  const snapshotter = 'overlayfs'
  const parent = await topSnapshot(subject)
  const labels = { 'containerd.io/gc.root': 'bench' }
  return median(
    await times(200, async (round) => {
      await snapshots.prepare({ snapshotter, key: `key ${round}`, parent, labels })
      await snapshots.commit({ snapshotter, key: `key ${round}`, name: `name ${round}`, labels })
      await snapshots.remove({ snapshotter, key: `name ${round}` })
    }),
  )
}

/** The snapshot that no other one stands on. */
async function topSnapshot({ containerd }: Subject): Promise<string> {
  const parents = new Set<string>()
  const names: string[] = []
  for await (const { info } of containerd.snapshots.list({ snapshotter: 'overlayfs', filters: [] })) {
    for (const { name, parent } of info) {
      names.push(name)
      parents.add(parent)
    }
  }
  // The longest chain is the large image's.
  const tops = names.filter((name) => !parents.has(name))
  let best = ''
  let depth = 0
  for (const top of tops) {
    let steps = 0
    for (let at = top; at !== ''; steps++) {
      const { info } = await containerd.snapshots.stat({ snapshotter: 'overlayfs', key: at })
      at = info?.parent ?? ''
    }
    if (steps > depth) [best, depth] = [top, steps]
  }
  return best
}

async function pull({ daemon }: Subject, image: string): Promise<void> {
  await daemon.mustCtr(['-n', 'bench', 'images', 'pull', '--plain-http', image], { timeoutMs: 300_000 })
}

async function remove({ daemon }: Subject, image: string): Promise<void> {
  await daemon.mustCtr(['-n', 'bench', 'images', 'rm', '--sync', image], { timeoutMs: 300_000 })
}

async function timed(operation: () => Promise<void>): Promise<number> {
  const started = performance.now()
  await operation()
  return performance.now() - started
}

async function made(parent: string, name: string): Promise<string> {
  const path = join(parent, name)
  await mkdir(path, { recursive: true })
  return path
}

function table(theirs: Figures, ours: Figures): string {
  const rows = [...theirs].map(([name, values]) => {
    const a = middle(values)
    const b = middle(ours.get(name) ?? [])
    return [name, a.toFixed(1), b.toFixed(1), (b / a).toFixed(2)]
  })
  const all = [['layers', 'containerd', 'ours', 'ours / containerd'], ...rows]
  return all.map(([name = '', ...cells]) => `${name.padEnd(52)}${cells.map((cell) => cell.padStart(18)).join('')}\n`).join('')
}

function middle(values: readonly number[]): number {
  return median([...values].sort((a, b) => a - b))
}

await main()
