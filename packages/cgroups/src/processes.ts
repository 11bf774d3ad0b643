import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cgroup, cgroupAt } from './hierarchy.js'

/** All processes in a group and in the groups below it; none when it is gone. */
export function cgroupPids(cgroup: Cgroup): number[] {
  const dir = cgroup.version === 2 ? cgroup.path : processDirectory(cgroup.paths)
  return dir === undefined ? [] : [...collect(dir)]
}

// Runtimes keep every process in these hierarchies, whatever a nested manager does with the others.
function processDirectory(paths: ReadonlyMap<string, string>): string | undefined {
  return paths.get('devices') ?? paths.get('pids') ?? paths.get('memory') ?? [...paths.values()][0]
}

function* collect(dir: string): Generator<number> {
  let entries: string
  try {
    entries = readFileSync(join(dir, 'cgroup.procs'), 'utf8')
  } catch {
    // Gone, or a threaded group, whose processes are listed above it.
    return
  }
  for (const line of entries.split('\n')) if (line !== '') yield Number(line)
  for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) yield* collect(join(dir, entry.name))
}

/** Moves a process into an existing group, with every controller. @throws the system error, or Error when there is no such group. */
export function addToCgroup(path: string, pid: number): void {
  const cgroup = cgroupAt(path)
  const dirs = cgroup === undefined ? [] : cgroup.version === 2 ? [cgroup.path] : [...new Set(cgroup.paths.values())]
  const existing = dirs.filter((dir) => existsSync(dir))
  if (existing.length === 0) throw new Error(`cgroup ${JSON.stringify(path)} does not exist`)
  for (const dir of existing) writeFileSync(join(dir, 'cgroup.procs'), String(pid))
}
