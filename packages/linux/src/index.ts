/** Linux system calls that Node lacks, bound to libc. Every function throws a SystemError with `code`, `errno` and `syscall`. */
export { isErrno, SystemError, systemError } from './errno.js'
export { sendUnixDatagram } from './datagram.js'
export { lockFile } from './flock.js'
