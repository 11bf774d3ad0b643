import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

/** What a test left behind below its directory. */
export interface Leaks {
  mounts: string[]
  /** Command lines of processes that mention the directory there or in their environment, or work in it. */
  processes: string[]
  /** FIFOs and sockets. */
  special: string[]
  /** What is left in directories for temporary things. */
  temporary: string[]
}

/** Looks for what a daemon below a directory, see `startDaemon`, has not cleared away. */
export async function findLeaks(dir: string): Promise<Leaks> {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8')
  const mounts = mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
  return { mounts, processes: await processesOf(dir), special: await specialFiles(dir), temporary: await temporaryFiles(dir) }
}

/** As {@link findLeaks}, of what does not go away by itself: a shim that nobody needs any more may wait 10 s for a daemon and try for 10 s to tell it what happened. */
export async function findLastingLeaks(dir: string): Promise<Leaks> {
  const deadline = Date.now() + 30_000
  for (;;) {
    const leaks = await findLeaks(dir)
    if (Object.values(leaks).every(({ length }) => length === 0) || Date.now() > deadline) return leaks
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function processesOf(dir: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    // A shim knows its daemon only by its environment.
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    if (command.includes(dir) || cwd.startsWith(dir) || environment.includes(dir))
      found.push(`${pid} ${command.replaceAll('\0', ' ').trim()}`)
  }
  return found
}

async function specialFiles(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true, recursive: true }).catch(() => [])
  return entries.filter((entry) => entry.isFIFO() || entry.isSocket()).map((entry) => join(entry.parentPath, entry.name))
}

async function temporaryFiles(dir: string): Promise<string[]> {
  const entries = await Promise.all(
    ['tmp', 'root/tmpmounts'].map(async (name) =>
      (await readdir(join(dir, name)).catch(() => [])).map((entry) => join(dir, name, entry)),
    ),
  )
  return entries.flat()
}
