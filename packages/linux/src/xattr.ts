import { cString, type Path, pathText } from './c-string.js'
import { isErrno } from './errno.js'
import { bind, check } from './libc.js'

const list = bind('int64_t llistxattr(const void *path, void *list, size_t size)')
const get = bind('int64_t lgetxattr(const void *path, const void *name, void *value, size_t size)')
const set = bind('int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)')
const remove = bind('int lremovexattr(const void *path, const void *name)')

/** The names of a file's extended attributes. Symbolic links are not followed. @throws SystemError, for instance ENOTSUP */
export function listXattrs(path: Path): string[] {
  const file = cString(path)
  return read((buffer, size) => list(file, buffer, size), 'llistxattr', path)
    .toString()
    .split('\0')
    .filter((name) => name !== '')
}

/** The value of an extended attribute, undefined when there is none of that name. Symbolic links are not followed. @throws SystemError */
export function getXattr(path: Path, name: string): Buffer | undefined {
  const file = cString(path)
  const key = cString(name)
  try {
    return read((buffer, size) => get(file, key, buffer, size), 'lgetxattr', path)
  } catch (error) {
    if (isErrno(error, 'ENODATA')) return undefined
    throw error
  }
}

/** Sets an extended attribute. Symbolic links are not followed. @throws SystemError, for instance ENOTSUP */
export function setXattr(path: Path, name: string, value: Uint8Array): void {
  check(set(cString(path), cString(name), value, value.length, 0), 'lsetxattr', pathText(path))
}

/** @throws SystemError ENODATA when there is none of that name. */
export function removeXattr(path: Path, name: string): void {
  check(remove(cString(path), cString(name)), 'lremovexattr', pathText(path))
}

// Most values are small: the first attempt has room for them, the kernel's limit is 64 KiB.
function read(call: (buffer: Buffer, size: number) => number, syscall: string, path: Path): Buffer {
  for (const size of [256, 65536]) {
    const buffer = Buffer.alloc(size)
    try {
      return buffer.subarray(0, check(Number(call(buffer, size)), syscall, pathText(path)))
    } catch (error) {
      if (size === 65536 || !isErrno(error, 'ERANGE')) throw error
    }
  }
  throw new RangeError('unreachable')
}
