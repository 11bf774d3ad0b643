import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { type FileTime, FileType, isErrno, makeNode, setTimes, setTimesOf, setXattr } from '@containerd-ts/linux'
import { baseOf, childOf, entryPath, parentOf } from './entry-path.js'
import type { MissingParents } from './missing-parents.js'
import { TarError } from './tar-error.js'
import { type TarHeader, TarType } from './tar-header.js'
import type { TarReader } from './tar-reader.js'
import {
  bytePath,
  changeMode,
  changeOwner,
  clampTimes,
  isDirectory,
  linkFile,
  lstat,
  makeDirectory,
  makeSymlink,
  removeTree,
  unlessExists,
} from './tree-operations.js'
import { opaqueMarker, type Whiteouts, whiteoutTarget } from './whiteouts.js'

export interface ApplyOptions {
  /** What a whiteout does. */
  whiteouts: Whiteouts
  /** Makes directories that the archive leaves out. */
  parents: MissingParents
  /** Devices cannot be made and are left out, and a failing chown is explained. */
  userNamespace: boolean
  /** Called before every entry; throws to stop. */
  checkpoint: () => void
  /** Hears of what was left out. */
  warn: (message: string) => void
}

const maxId = 0xffff_ffff

/**
 * Unpacks a layer into the root directory of the calling thread, which must be confined to it: that is what keeps the names of an
 * archive from leading elsewhere. The umask must be 0.
 *
 * @returns the sum of the entries' sizes.
 * @throws TarError, SystemError
 */
export function applyLayer(tar: TarReader, options: ApplyOptions): number {
  const { whiteouts, parents, checkpoint, warn } = options
  // Making entries changes the times of their directory, so these come last.
  const directoryTimes = new Map<string, [FileTime, FileTime]>()
  let total = 0

  for (let header = tar.next(); header !== undefined; header = tar.next()) {
    checkpoint()
    total += header.size
    if (header.type === TarType.Global) continue
    const path = entryPath(header.name)
    // The root keeps its attributes.
    if (path === '/') continue
    if (options.userNamespace && (header.type === TarType.Block || header.type === TarType.Character)) {
      warn(`device ${path} left out: a user namespace cannot have it`)
      continue
    }
    const base = baseOf(path)
    if (base === opaqueMarker) {
      parents.ensure(path)
      whiteouts.opaque(parentOf(path))
      continue
    }
    const removed = whiteoutTarget(base)
    if (removed !== undefined) {
      parents.ensure(path)
      whiteouts.remove(childOf(parentOf(path), removed), header)
      continue
    }
    createEntry(tar, header, path, options)
    whiteouts.unpacked(path)
    if (header.type === TarType.Directory) directoryTimes.set(path, clampTimes(header))
    else directoryTimes.delete(path)
  }
  parents.finish()
  for (const [path, times] of directoryTimes) {
    // A later entry may have taken its place.
    if (isDirectory(path)) setTimes(bytePath(path), ...times)
  }
  return total
}

function createEntry(tar: TarReader, header: TarHeader, path: string, options: ApplyOptions): void {
  try {
    for (const id of [header.uid, header.gid])
      if (id < 0 || id > maxId) throw new TarError(`owner ${header.uid}:${header.gid} of ${path} is out of range`)
    switch (header.type) {
      case TarType.Regular:
        createFile(tar, header, path, options)
        return
      case TarType.Directory:
        createDirectory(path, header.mode & 0o7777, options)
        break
      case TarType.Link:
        create(path, options, () => linkFile(`/${header.linkName.toString('latin1')}`, path))
        break
      case TarType.Symlink:
        create(path, options, () => makeSymlink(header.linkName, path))
        break
      case TarType.Character:
        create(path, options, () => makeNode(bytePath(path), FileType.Character | 0o600, header))
        break
      case TarType.Block:
        create(path, options, () => makeNode(bytePath(path), FileType.Block | 0o600, header))
        break
      case TarType.Fifo:
        create(path, options, () => makeNode(bytePath(path), FileType.Fifo | 0o600))
        break
      default:
        throw new TarError(`unhandled tar header type ${header.type.charCodeAt(0)}`)
    }
    changeOwner(path, header.uid, header.gid)
    setXattrs(path, header, options)
    // A hard link may be another name of a symbolic link, whose mode must not be followed.
    if (header.type !== TarType.Symlink && !(header.type === TarType.Link && lstat(path)?.isSymbolicLink())) {
      changeMode(path, header.mode & 0o7777)
    }
    if (header.type !== TarType.Directory) setTimes(bytePath(path), ...clampTimes(header))
  } catch (error) {
    throw explain(error, options, header)
  }
}

// The usual entry by far: one open file, no path looked up twice.
function createFile(tar: TarReader, header: TarHeader, path: string, options: ApplyOptions): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  const fd = create(path, options, () => openSync(bytePath(path), flags, 0o600))
  try {
    writeData(path, tar, header, fd)
    fchownSync(fd, header.uid, header.gid)
    setXattrs(path, header, options)
    fchmodSync(fd, header.mode & 0o7777)
    setTimesOf(fd, ...clampTimes(header))
  } finally {
    closeSync(fd)
  }
}

function writeData(path: string, tar: TarReader, header: TarHeader, fd: number): void {
  if (header.spans !== undefined) {
    for (const { offset, length } of header.spans) copyData(path, tar, fd, length, offset)
    ftruncateSync(fd, header.size)
    return
  }
  copyData(path, tar, fd, header.storedSize, 0)
}

function copyData(path: string, tar: TarReader, fd: number, length: number, position: number): void {
  for (let remaining = length; remaining > 0; ) {
    const bytes = readOf(path, tar, remaining)
    for (let written = 0; written < bytes.length; ) {
      const count = writeSync(fd, bytes, written, bytes.length - written, position)
      written += count
      position += count
    }
    remaining -= bytes.length
  }
}

function readOf(path: string, tar: TarReader, max: number): Buffer {
  try {
    return tar.read(max)
  } catch (error) {
    throw error instanceof TarError ? new TarError(`${error.message} in the data of ${path}`) : error
  }
}

function createDirectory(path: string, mode: number, options: ApplyOptions): void {
  create(path, options, () => {
    if (!unlessExists(() => makeDirectory(path, mode)) && !isDirectory(path)) {
      removeTree(path)
      makeDirectory(path, mode)
    }
  })
}

/** Makes something at `path`, removing what is there and making the directories above where they are missing. */
function create<T>(path: string, { parents }: ApplyOptions, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (isErrno(error, 'EEXIST')) {
      removeTree(path)
      return make()
    }
    if (!isErrno(error, 'ENOENT')) throw error
    // Not there is either the directory above, or the target of a hard link.
    if (!parents.ensure(path)) throw error
    return make()
  }
}

function setXattrs(path: string, header: TarHeader, { warn }: ApplyOptions): void {
  for (const [name, value] of header.xattrs) {
    // These control the filesystem itself, as overlay's do.
    if (name.startsWith('trusted.')) {
      warn(`attribute ${name} of ${path} left out: not taken from archives`)
      continue
    }
    try {
      setXattr(bytePath(path), name, value)
    } catch (error) {
      const unsupported = isErrno(error, 'ENOTSUP')
      // Only files and directories can have attributes of users.
      const misplaced = isErrno(error, 'EPERM') && name.startsWith('user.') && !takesUserXattrs(path)
      if (!unsupported && !misplaced) throw error
      warn(`attribute ${name} of ${path} left out: not supported here`)
    }
  }
}

function takesUserXattrs(path: string): boolean {
  const stat = lstat(path)
  return stat !== undefined && (stat.isFile() || stat.isDirectory())
}

function explain(error: unknown, { userNamespace }: ApplyOptions, { uid, gid }: TarHeader): unknown {
  if (!userNamespace || !isErrno(error, 'EINVAL')) return error
  return new Error(
    `cannot chown to ${uid}:${gid}: ${String(error)} (Hint: try increasing the number of subordinate IDs in /etc/subuid and /etc/subgid)`,
    { cause: error },
  )
}
