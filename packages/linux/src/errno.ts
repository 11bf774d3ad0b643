import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'

// Some numbers have two names: Node's own system errors say EAGAIN and ENOTSUP, so these do too.
const names = new Map([
  ...Object.entries(constants.errno).map(([name, number]): [number, string] => [number, name]),
  ...[...getSystemErrorMap()].map(([number, [name]]): [number, string] => [-number, name]),
])

/** A failed system call, in the shape of Node's own system errors. */
export class SystemError extends Error {
  override readonly name = 'SystemError'

  constructor(
    /** Name of the errno, for instance `ENOENT`. */
    readonly code: string,
    /** Negative errno, as Node has it. */
    readonly errno: number,
    readonly syscall: string,
    readonly path?: string,
  ) {
    super(`${code}: ${syscall}${path === undefined ? '' : ` '${path}'`}`)
  }
}

/** The error for a positive errno. */
export function systemError(errno: number, syscall: string, path?: string): SystemError {
  return new SystemError(names.get(errno) ?? `E${errno}`, -errno, syscall, path)
}

/** True for a system error of that name, Node's own included. */
export function isErrno(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}
