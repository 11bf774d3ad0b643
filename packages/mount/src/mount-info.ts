import { readFile } from 'node:fs/promises'

/** One line of /proc/self/mountinfo. */
export interface MountInfo {
  id: number
  parent: number
  /** `major:minor` of the filesystem. */
  device: string
  /** What of the filesystem is mounted. */
  root: string
  mountPoint: string
  /** Options of the mount. */
  options: string[]
  /** Propagation: `shared:N`, `master:N` and so on. */
  optional: string[]
  type: string
  source: string
  /** Options of the filesystem. */
  superOptions: string[]
}

/** The mounts that a process sees, this one by default, in the kernel's order: a later one covers an earlier one on the same path. */
export async function readMountInfo(pid: number | 'self' = 'self'): Promise<MountInfo[]> {
  return parseMountInfo(await readFile(`/proc/${pid}/mountinfo`, 'utf8'))
}

/** The mounts whose mount point is `path` or lies below it, deepest first and the topmost of a stack first. */
export async function mountsBelow(path: string): Promise<MountInfo[]> {
  const prefix = path === '/' ? '/' : `${path}/`
  const mounts = (await readMountInfo()).filter((m) => m.mountPoint === path || m.mountPoint.startsWith(prefix))
  return mounts.reverse().sort((a, b) => depth(b.mountPoint) - depth(a.mountPoint))
}

function depth(path: string): number {
  return path.split('/').length
}

/** Reads the format of proc(5). */
export function parseMountInfo(text: string): MountInfo[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine)
}

function parseLine(line: string): MountInfo {
  const fields = line.split(' ')
  const separator = fields.indexOf('-', 6)
  const [id = '', parent = '', device = '', root = '', mountPoint = '', options = ''] = fields
  const [type = '', source = '', superOptions = ''] = fields.slice(separator + 1)
  return {
    id: Number(id),
    parent: Number(parent),
    device,
    root: unescapeOctal(root),
    mountPoint: unescapeOctal(mountPoint),
    options: options.split(','),
    optional: fields.slice(6, separator),
    type,
    source: unescapeOctal(source),
    superOptions: superOptions.split(','),
  }
}

// Space, tab, newline and backslash are written as octal bytes.
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
