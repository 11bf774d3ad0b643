import {
  chmodSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  type Stats,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { type FileTime, isErrno } from '@containerd-ts/linux'

// Names in archives and on disk are bytes. They are worked with as strings of one character per byte, which can be cut and compared
// like any other, and turned into what the kernel gets at the last moment.

/** A path for Node and the kernel. */
export type OsPath = string | Buffer

const printable = /^[ -~]*$/

/** The path whose bytes are the characters of `path`. */
export function bytePath(path: string): OsPath {
  return printable.test(path) ? path : Buffer.from(path, 'latin1')
}

/** A path of ours as such a string. */
export function byteString(path: string): string {
  return Buffer.from(path).toString('latin1')
}

/** Undefined when there is nothing. */
export function lstat(path: string): Stats | undefined {
  return lstatSync(bytePath(path), { throwIfNoEntry: false })
}

export function isDirectory(path: string): boolean {
  return lstat(path)?.isDirectory() === true
}

/** With exactly that mode, given that the umask is 0. */
export function makeDirectory(path: string, mode: number): void {
  mkdirSync(bytePath(path), mode)
}

export function changeOwner(path: string, uid: number, gid: number): void {
  lchownSync(bytePath(path), uid, gid)
}

export function changeMode(path: string, mode: number): void {
  chmodSync(bytePath(path), mode)
}

export function linkFile(existing: string, path: string): void {
  linkSync(bytePath(existing), bytePath(path))
}

export function makeSymlink(target: Buffer, path: string): void {
  symlinkSync(target, bytePath(path))
}

/** False when `make` failed because something is there already. */
export function unlessExists(make: () => void): boolean {
  try {
    make()
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
}

/** The names in a directory, one character per byte. */
export function namesIn(path: string): string[] {
  return readdirSync(bytePath(path), { encoding: 'latin1' })
}

/**
 * Removes a file, or a directory with all that is in it. That nothing is there is no error. Links are not followed. `checkpoint` throws
 * to stop.
 */
export function removeTree(path: string, checkpoint: () => void = () => {}): void {
  checkpoint()
  try {
    unlinkSync(bytePath(path))
    return
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    // unlink(2) tells EISDIR for a directory on Linux; some filesystems have EPERM.
    if (!isErrno(error, 'EISDIR') && !isErrno(error, 'EPERM')) throw error
    if (!isDirectory(path)) throw error
  }
  for (const name of namesIn(path)) removeTree(`${path}/${name}`, checkpoint)
  rmdirSync(bytePath(path))
}

// What the times of a file can hold without surprise: 1970 to 2262, the latter being 2^63 nanoseconds.
const latestSeconds = 9_223_372_036

function clamp(time: FileTime): FileTime {
  return time.seconds < 0 || time.seconds > latestSeconds ? { seconds: 0, nanos: 0 } : time
}

/** Access and modification time to be set: the former is never the earlier one. */
export function clampTimes({ accessed, modified }: { accessed?: FileTime; modified: FileTime }): [FileTime, FileTime] {
  const later =
    accessed !== undefined &&
    (accessed.seconds > modified.seconds || (accessed.seconds === modified.seconds && accessed.nanos > modified.nanos))
  return [clamp(later ? accessed : modified), clamp(modified)]
}

/** Nanoseconds since 1970 in the parts that a {@link FileTime} has. */
export function fileTimeOf(ns: bigint): FileTime {
  const nanos = ((ns % second) + second) % second
  return { seconds: Number((ns - nanos) / second), nanos: Number(nanos) }
}

const second = 1_000_000_000n
