import { readlinkSync, type Stats } from 'node:fs'
import { systemError } from '@containerd-ts/linux'
import { bytePath, lstat } from './tree-operations.js'

const ELOOP = 40
const maxLinks = 255

/** The path of an entry, cleaned without looking at the disk: absolute, no `..`. `/` for the root itself. */
export function entryPath(name: Buffer): string {
  const parts: string[] = []
  for (const part of name.toString('latin1').split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return `/${parts.join('/')}`
}

/** The directory of an absolute path. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')))
}

/** The last component of an absolute path. */
export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** `name` in `directory`. */
export function childOf(directory: string, name: string): string {
  return directory === '/' ? `/${name}` : `${directory}/${name}`
}

/**
 * Goes along `path` from the root, following links as the kernel would. `step` sees each real place with what is there, a link
 * excepted, and ends the walk by giving back false.
 *
 * @returns where the path leads to, undefined when `step` ended the walk.
 */
export function walkPath(path: string, step: (place: string, stat: Stats | undefined) => boolean): string | undefined {
  const pending = path.split('/').reverse()
  let resolved = '/'
  let links = 0
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      resolved = parentOf(resolved)
      continue
    }
    const place = childOf(resolved, part)
    const stat = lstat(place)
    if (stat?.isSymbolicLink()) {
      if (++links > maxLinks) throw systemError(ELOOP, 'lstat', path)
      const target = readlinkSync(bytePath(place), { encoding: 'latin1' })
      if (target.startsWith('/')) resolved = '/'
      pending.push(...target.split('/').reverse())
      continue
    }
    if (!step(place, stat)) return undefined
    resolved = place
  }
  return resolved
}

/** Where a path of directories leads to, undefined when it does not exist or leads through something else. */
export function resolveDirectory(path: string): string | undefined {
  return walkPath(path, (_, stat) => stat?.isDirectory() === true)
}
