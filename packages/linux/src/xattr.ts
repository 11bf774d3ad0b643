import { errno } from 'koffi'
import { cString, type Path, pathText } from './c-string.js'
import { systemError } from './errno.js'
import { bind, check } from './libc.js'

const ERANGE = 34
const ENODATA = 61
const list = bind('int64_t llistxattr(const void *path, void *list, size_t size)')
const get = bind('int64_t lgetxattr(const void *path, const void *name, void *value, size_t size)')
const set = bind('int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)')
const remove = bind('int lremovexattr(const void *path, const void *name)')

/** The names of a file's extended attributes. Symbolic links are not followed. @throws SystemError, for instance ENOTSUP */
export function listXattrs(path: Path): string[] {
  const file = cString(path)
  const names = tryRead((buffer, size) => list(file, buffer, size))
  if (typeof names === 'number') throw systemError(names, 'llistxattr', pathText(path))
  return names
    .toString()
    .split('\0')
    .filter((name) => name !== '')
}

/** The value of an extended attribute, undefined when there is none of that name. Symbolic links are not followed. @throws SystemError */
export function getXattr(path: Path, name: string): Buffer | undefined {
  const file = cString(path)
  const key = cString(name)
  const value = tryRead((buffer, size) => get(file, key, buffer, size))
  if (typeof value !== 'number') return value
  // The usual answer of most files, for which no error is made.
  if (value === ENODATA) return undefined
  throw systemError(value, 'lgetxattr', pathText(path))
}

/** Sets an extended attribute. Symbolic links are not followed. @throws SystemError, for instance ENOTSUP */
export function setXattr(path: Path, name: string, value: Uint8Array): void {
  check(set(cString(path), cString(name), value, value.length, 0), 'lsetxattr', pathText(path))
}

/** @throws SystemError ENODATA when there is none of that name. */
export function removeXattr(path: Path, name: string): void {
  check(remove(cString(path), cString(name)), 'lremovexattr', pathText(path))
}

// Most values are small: the first attempt has room for them, the kernel's limit is 64 KiB. Gives back the errno of a failure.
function tryRead(call: (buffer: Buffer, size: number) => number): Buffer | number {
  for (const size of [256, 65536]) {
    const buffer = Buffer.allocUnsafe(size)
    const length = Number(call(buffer, size))
    if (length >= 0) return buffer.subarray(0, length)
    const code = errno()
    if (code !== ERANGE) return code
  }
  return ERANGE
}
