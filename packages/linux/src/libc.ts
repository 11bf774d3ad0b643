import { errno, type LibraryHandle, load } from 'koffi'
import { systemError } from './errno.js'

let library: LibraryHandle | undefined

/** libc, loaded at the first use: importing this package works on any platform. */
export function libc(): LibraryHandle {
  library ??= load('libc.so.6')
  return library
}

/** Binds a libc function at its first call. `prototype` is C, as in `int umount2(const char *target, int flags)`. */
export function bind(prototype: string): (...args: unknown[]) => number {
  let bound: ((...args: unknown[]) => number) | undefined
  return (...args) => {
    bound ??= libc().func(prototype) as (...args: unknown[]) => number
    return bound(...args)
  }
}

/** Gives back a call's result. @throws SystemError with the errno when it is negative. */
export function check(result: number, syscall: string, path?: string): number {
  if (result < 0) throw systemError(errno(), syscall, path)
  return result
}
