import { lstatSync } from 'node:fs'
import { type FileTime, getXattr, isErrno, listXattrs, setTimes, setXattr, systemError } from '@containerd-ts/linux'
import { parentOf, walkPath } from './entry-path.js'
import { bytePath, changeMode, changeOwner, fileTimeOf, isDirectory, makeDirectory } from './tree-operations.js'

const ENOTDIR = 20

/** What a directory has beside its entries. */
export interface DirectoryAttributes {
  uid: number
  gid: number
  mode: number
  accessed: FileTime
  modified: FileTime
  xattrs: [name: string, value: Buffer][]
}

/** Makes the directories that an archive takes for granted. */
export interface MissingParents {
  /**
   * Sees to the directory that holds `path`, links resolved within the root. False when it was there.
   * @throws SystemError ENOTDIR when something else is in its place.
   */
  ensure(path: string): boolean
  /** Gives the directories that were made their times back, which their entries have changed. */
  finish(): void
}

/** `model` tells what lower layers have at a path; without it the directories are root's with mode 0755. */
export function createMissingParents(model: (directory: string) => DirectoryAttributes | undefined): MissingParents {
  const made = new Map<string, DirectoryAttributes>()

  function make(directory: string): void {
    makeDirectory(directory, 0o755)
    const attributes = model(directory)
    // Not taken over from the directory above, which its set-group-id bit would do.
    changeOwner(directory, attributes?.uid ?? 0, attributes?.gid ?? 0)
    changeMode(directory, attributes?.mode ?? 0o755)
    if (attributes === undefined) return
    for (const [name, value] of attributes.xattrs) setXattr(bytePath(directory), name, value)
    made.set(directory, attributes)
  }

  return {
    ensure(path) {
      let created = false
      walkPath(parentOf(path), (directory, stat) => {
        if (stat === undefined) {
          make(directory)
          created = true
        } else if (!stat.isDirectory()) throw systemError(ENOTDIR, 'mkparent', directory)
        return true
      })
      return created
    },
    finish() {
      for (const [directory, { accessed, modified }] of made) {
        if (isDirectory(directory)) setTimes(bytePath(directory), accessed, modified)
      }
    },
  }
}

/** What the root that the thread is in has at `path`: a directory's attributes, something else, or nothing. */
export function readAttributes(path: string): DirectoryAttributes | 'other' | undefined {
  let found: 'other' | undefined
  const real = walkPath(path, (_, stat) => {
    if (stat !== undefined && !stat.isDirectory()) found = 'other'
    return stat?.isDirectory() === true
  })
  if (real === undefined) return found
  const { uid, gid, mode, atimeNs, mtimeNs } = lstatSync(bytePath(real), { bigint: true })
  return {
    uid: Number(uid),
    gid: Number(gid),
    mode: Number(mode) & 0o7777,
    accessed: fileTimeOf(atimeNs),
    modified: fileTimeOf(mtimeNs),
    xattrs: ordinaryXattrs(real),
  }
}

/** Without those that are marks of the filesystem itself, overlay's opaqueness for instance. */
function ordinaryXattrs(path: string): [string, Buffer][] {
  let names: string[]
  try {
    names = listXattrs(bytePath(path))
  } catch (error) {
    if (isErrno(error, 'ENOTSUP')) return []
    throw error
  }
  return names
    .filter((name) => !name.startsWith('trusted.'))
    .flatMap((name): [string, Buffer][] => {
      const value = getXattr(bytePath(path), name)
      return value === undefined ? [] : [[name, value]]
    })
}
