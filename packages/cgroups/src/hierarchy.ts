import { readFileSync } from 'node:fs'
import { join, sep } from 'node:path'

/** Where the kernel's control groups are mounted. */
export interface Hierarchies {
  /** Version 1: controller to mount point. */
  v1: ReadonlyMap<string, MountPoint>
  /** The unified hierarchy, which on hybrid systems has no controllers. */
  v2: MountPoint | undefined
}

export interface MountPoint {
  /** Directory within the hierarchy that is seen at `path`. */
  root: string
  path: string
}

/** The control group of a process: a directory per controller, or one for all. */
export type Cgroup = { version: 1; paths: ReadonlyMap<string, string> } | { version: 2; path: string }

/** Parses `/proc/self/mountinfo`. */
export function parseHierarchies(mountinfo: string): Hierarchies {
  const v1 = new Map<string, MountPoint>()
  let v2: MountPoint | undefined
  for (const line of mountinfo.split('\n')) {
    const [mount = '', rest = ''] = line.split(' - ', 2)
    const fields = mount.split(' ')
    const [type, , options = ''] = rest.split(' ')
    const point = { root: unescapePath(fields[3] ?? '/'), path: unescapePath(fields[4] ?? '') }
    if (type === 'cgroup2') v2 ??= point
    if (type === 'cgroup') for (const option of options.split(',')) if (!v1.has(option)) v1.set(option, point)
  }
  return { v1, v2 }
}

function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

let mounted: Hierarchies | undefined

/** The hierarchies of this system, which do not change while it runs. */
export function hierarchies(): Hierarchies {
  mounted ??= parseHierarchies(readFileSync('/proc/self/mountinfo', 'utf8'))
  return mounted
}

/**
 * The control group of a process. Version 1 when any controller is there, as on hybrid systems.
 *
 * @returns undefined when the process is gone or no control groups are mounted.
 */
export function cgroupOf(pid: number): Cgroup | undefined {
  let membership: string
  try {
    membership = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
  } catch {
    return undefined
  }
  return parseMembership(membership, hierarchies())
}

/** Parses `/proc/PID/cgroup`. */
export function parseMembership(membership: string, { v1, v2 }: Hierarchies): Cgroup | undefined {
  const paths = new Map<string, string>()
  let unified: string | undefined
  for (const line of membership.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line)
    if (match === null) continue
    const [, controllers = '', path = ''] = match
    if (controllers === '') {
      unified = path
      continue
    }
    for (const controller of controllers.split(',')) {
      const point = v1.get(controller)
      if (point !== undefined && !controller.startsWith('name=')) paths.set(controller, locate(point, path))
    }
  }
  if (paths.size > 0) return { version: 1, paths }
  return unified === undefined || v2 === undefined ? undefined : { version: 2, path: locate(v2, unified) }
}

function locate({ root, path }: MountPoint, group: string): string {
  const inside = root !== sep && (group === root || group.startsWith(`${root}${sep}`)) ? group.slice(root.length) : group
  return join(path, inside)
}

/** True when both are the same group, in whatever hierarchy they are. */
export function sameCgroup(a: Cgroup, b: Cgroup): boolean {
  if (a.version === 1) return b.version === 1 && [...a.paths].every(([controller, path]) => b.paths.get(controller) === path)
  return b.version === 2 && a.path === b.path
}

/** The group at a path such as `/system.slice/example`, in every hierarchy that there is. */
export function cgroupAt(path: string): Cgroup | undefined {
  const { v1, v2 } = hierarchies()
  const controllers = [...v1].filter(([name]) => /^[a-z_]+$/.test(name) && knownControllers.has(name))
  if (controllers.length > 0) {
    return { version: 1, paths: new Map(controllers.map(([name, point]) => [name, join(point.path, path)])) }
  }
  return v2 === undefined ? undefined : { version: 2, path: join(v2.path, path) }
}

const knownControllers: ReadonlySet<string> = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'blkio',
  'pids',
  'hugetlb',
  'perf_event',
  'net_cls',
  'net_prio',
  'rdma',
])
