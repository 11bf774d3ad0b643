import { bind, check } from './libc.js'

const LOCK_EX = 2
const LOCK_NB = 4
const flock = bind('int flock(int fd, int operation)')

/**
 * Takes an exclusive lock on an open file, without waiting. The kernel drops it when the descriptor is closed, also by a crash.
 *
 * @throws SystemError `EAGAIN` when another process has it.
 */
export function lockFile(fd: number): void {
  check(flock(fd, LOCK_EX | LOCK_NB), 'flock')
}
