import { errno } from 'koffi'
import { systemError } from './errno.js'
import { libc } from './libc.js'

/**
 * Binds a libc function that may take long: it runs on a thread of the pool. `path` is only for the error.
 * The promise is rejected with a SystemError when the result is negative.
 */
export function bindInBackground(prototype: string, syscall: string) {
  let bound: ReturnType<ReturnType<typeof libc>['func']> | undefined
  return (args: readonly unknown[], path?: string): Promise<number> => {
    bound ??= libc().func(prototype)
    const call = bound
    return new Promise<number>((resolve, reject) => {
      const settle = (error: unknown, result: number): void => {
        held.delete(settle)
        if (error !== null) reject(error)
        else if (result < 0) reject(systemError(errno(), syscall, path))
        else resolve(result)
      }
      // The thread reads the arguments' memory, so they must not be collected before it is done.
      held.set(settle, args)
      call.async(...args, settle)
    })
  }
}

const held = new Map<unknown, readonly unknown[]>()
