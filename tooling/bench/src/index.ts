import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildBusyboxImage, startRegistry } from '@containerd-ts/testkit'
import { metadataWorkloads } from './metadata.js'
import { type Subject, startSubject, type Workload, workloads } from './workloads.js'

interface Row {
  name: string
  ours: number
  theirs: number
}

/** Measures both daemons in turn, workload by workload, so that a change of the machine's speed meets both. */
async function main(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'bench-'))
  const registry = await startRegistry(join(dir, 'registry'))
  const subjects: Subject[] = []
  try {
    const built = await buildBusyboxImage(dir)
    await registry.push(built.layout, 'library/busybox:latest')
    const image = `${registry.host}/library/busybox:latest`
    const ours = await startSubject(join(dir, 'ours'), undefined, image)
    subjects.push(ours)
    const theirs = await startSubject(join(dir, 'theirs'), 'containerd', image)
    subjects.push(theirs)
    const rows: Row[] = []
    for (const workload of chosen()) {
      rows.push({ name: workload.name, theirs: await workload.measure(theirs), ours: await workload.measure(ours) })
    }
    process.stdout.write(process.argv.includes('json') ? `${JSON.stringify(rows, null, 2)}\n` : table(rows))
  } finally {
    for (const { containerd, daemon, raw } of subjects) {
      containerd.close()
      raw.close()
      await daemon.stop()
    }
    await registry.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

/** All workloads, or those whose names contain what the command line asks for. */
function chosen(): readonly Workload[] {
  const wanted = process.argv.slice(2).filter((word) => word !== 'json')
  const all = [...workloads, ...metadataWorkloads]
  return wanted.length === 0 ? all : all.filter(({ name }) => wanted.some((word) => name.includes(word)))
}

function table(rows: readonly Row[]): string {
  const cells = rows.map(({ name, ours, theirs }) => [name, theirs.toFixed(2), ours.toFixed(2), `${(ours / theirs).toFixed(2)}`])
  const all = [['workload', 'containerd (ms)', 'ours (ms)', 'ours / containerd'], ...cells]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all
    .map(
      (row) =>
        `${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}\n`,
    )
    .join('')
}

await main()
