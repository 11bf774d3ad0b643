import { constants } from 'node:fs'
import { FileType, isErrno, makeNode, removeXattr, setXattr } from '@containerd-ts/linux'
import { baseOf, childOf, parentOf, resolveDirectory } from './entry-path.js'
import { TarError } from './tar-error.js'
import type { TarHeader } from './tar-header.js'
import { bytePath, changeOwner, isDirectory, lstat, namesIn, removeTree, unlessExists } from './tree-operations.js'

const prefix = '.wh.'
const opaqueXattr = 'trusted.overlay.opaque'

/** The name in a directory that hides everything that lower layers have in it. */
export const opaqueMarker = '.wh..wh..opq'

/** What a whiteout does to the tree. */
export interface Whiteouts {
  /** Hides `path` of lower layers. */
  remove(path: string, header: TarHeader): void
  /** Hides what lower layers have in `directory`. */
  opaque(directory: string): void
  /** Told of everything that the layer itself puts there. */
  unpacked(path: string): void
}

/** The name that a whiteout removes, undefined when `base` is no whiteout. @throws TarError when that is no name. */
export function whiteoutTarget(base: string): string | undefined {
  if (!base.startsWith(prefix)) return undefined
  const target = base.slice(prefix.length)
  if (target === '' || target === '.' || target === '..') throw new TarError(`invalid whiteout name: ${base}: invalid archive`)
  return target
}

/** For a tree that shows the lower layers: what is whited out is removed. */
export function removingWhiteouts(): Whiteouts {
  // As the names were written; links on their way are only resolved when an opaque marker asks for it.
  const written = new Set<string>()
  return {
    remove: (path) => removeTree(path),
    unpacked: (path) => written.add(path),
    opaque(directory) {
      const root = resolveDirectory(directory)
      if (root === undefined) throw new TarError(`opaque whiteout in ${directory}: no such directory`)
      const kept = resolvedBelow(root, written)
      const sweep = (at: string): void => {
        for (const name of namesIn(at)) {
          const path = childOf(at, name)
          if (!kept.has(path)) removeTree(path)
          else if (isDirectory(path)) sweep(path)
        }
      }
      sweep(root)
    },
  }
}

/** Where the written paths are really, as far as they lie below `root`, with the directories on the way to them. */
function resolvedBelow(root: string, written: ReadonlySet<string>): Set<string> {
  const below = childOf(root, '')
  const directories = new Map<string, string | undefined>()
  const kept = new Set<string>()
  for (const path of written) {
    const parent = parentOf(path)
    if (!directories.has(parent)) directories.set(parent, resolveDirectory(parent))
    const directory = directories.get(parent)
    if (directory === undefined) continue
    let real = childOf(directory, baseOf(path))
    while (real.startsWith(below) && real !== '/' && !kept.has(real)) {
      kept.add(real)
      real = parentOf(real)
    }
  }
  return kept
}

/** For the upper directory of an overlay, which marks what it hides instead of removing it. */
export function overlayWhiteouts(): Whiteouts {
  // As the names were written. A directory in such a place must not show what was hidden there.
  const hidden = new Set<string>()
  return {
    unpacked(path) {
      if (hidden.delete(path) && isDirectory(path)) setXattr(bytePath(path), opaqueXattr, Buffer.from('y'))
    },
    remove(path, { uid, gid }) {
      const hide = () => makeNode(bytePath(path), FileType.Character)
      if (!unlessExists(hide) && !isWhiteout(path)) {
        removeTree(path)
        hide()
      }
      changeOwner(path, uid, gid)
      hidden.add(path)
    },
    opaque(directory) {
      setXattr(bytePath(directory), opaqueXattr, Buffer.from('y'))
    },
  }
}

/** Takes back what an opaque marker has done to a directory of an overlay's upper tree. */
export function removeOpaqueMark(directory: string): void {
  try {
    removeXattr(bytePath(directory), opaqueXattr)
  } catch (error) {
    if (!isErrno(error, 'ENODATA') && !isErrno(error, 'ENOTSUP')) throw error
  }
}

function isWhiteout(path: string): boolean {
  const stat = lstat(path)
  return stat !== undefined && (stat.mode & constants.S_IFMT) === constants.S_IFCHR && stat.rdev === 0
}
