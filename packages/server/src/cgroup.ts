import { access, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const mountPoint = '/sys/fs/cgroup'

/**
 * Moves this process into a cgroup. With version 1 controllers it is created where missing and joined in each of them; a version 2
 * cgroup must exist.
 */
export async function joinCgroup(path: string): Promise<void> {
  if (await exists(join(mountPoint, 'cgroup.controllers'))) {
    await writeFile(join(mountPoint, path, 'cgroup.procs'), String(process.pid))
    return
  }
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '))
  for (const fields of mounts) {
    const separator = fields.indexOf('-')
    if (fields[separator + 1] !== 'cgroup' || fields[4] === undefined) continue
    const directory = join(fields[4], path)
    await mkdir(directory, { recursive: true })
    if (await exists(join(directory, 'cpuset.cpus'))) await inheritCpuset(directory)
    await writeFile(join(directory, 'cgroup.procs'), String(process.pid))
  }
}

/** A new cpuset has no processors and no memory, and takes no process until it has: it gets those of its parent. */
async function inheritCpuset(directory: string): Promise<void> {
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    const path = join(directory, name)
    if ((await readFile(path, 'utf8')).trim() !== '') continue
    await inheritCpuset(dirname(directory))
    await writeFile(path, await readFile(join(dirname(directory), name)))
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
