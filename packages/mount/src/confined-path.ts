import { lstatSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { isErrno, systemError } from '@containerd-ts/linux'

const ELOOP = 40
const maxLinks = 255

/**
 * Joins `path` to `root` as if `root` were the root of the filesystem: symbolic links are resolved, absolute ones start at `root`
 * again, and `..` does not leave it. What does not exist is taken as it is written.
 *
 * @throws SystemError ELOOP
 */
export function joinConfined(root: string, path: string): string {
  const pending = path.split('/').reverse()
  const resolved: string[] = []
  let links = 0
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      resolved.pop()
      continue
    }
    const target = linkTarget(join(root, ...resolved, part))
    if (target === undefined) {
      resolved.push(part)
      continue
    }
    if (++links > maxLinks) throw systemError(ELOOP, 'lstat', path)
    if (target.startsWith('/')) resolved.length = 0
    pending.push(...target.split('/').reverse())
  }
  return join(root, ...resolved)
}

function linkTarget(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return undefined
    throw error
  }
}
