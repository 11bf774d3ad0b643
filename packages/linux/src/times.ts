import { cString, type Path, pathText } from './c-string.js'
import { bind, check } from './libc.js'

const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const utimensat = bind('int utimensat(int directory, const void *path, const void *times, int flags)')
const futimens = bind('int futimens(int fd, const void *times)')

/** Seconds since 1970 and nanoseconds of that second, as in a stat. */
export interface FileTime {
  seconds: number
  /** 0 to 999,999,999 */
  nanos: number
}

/** Sets access and modification time to the nanosecond. Symbolic links are not followed. @throws SystemError */
export function setTimes(path: Path, accessed: FileTime, modified: FileTime): void {
  check(utimensat(AT_FDCWD, cString(path), timespecs(accessed, modified), AT_SYMLINK_NOFOLLOW), 'utimensat', pathText(path))
}

/** {@link setTimes} of an open file. */
export function setTimesOf(fd: number, accessed: FileTime, modified: FileTime): void {
  check(futimens(fd, timespecs(accessed, modified)), 'futimens')
}

function timespecs(accessed: FileTime, modified: FileTime): Buffer {
  const times = Buffer.allocUnsafe(32)
  writeSeconds(times, accessed.seconds, 0)
  writeSeconds(times, accessed.nanos, 8)
  writeSeconds(times, modified.seconds, 16)
  writeSeconds(times, modified.nanos, 24)
  return times
}

// A 64-bit integer without a bigint for each of the many files of a layer.
function writeSeconds(target: Buffer, value: number, offset: number): void {
  target.writeUInt32LE(value >>> 0, offset)
  target.writeInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4)
}
