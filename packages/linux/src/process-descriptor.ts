import { readFileSync } from 'node:fs'
import { bind, check } from './libc.js'

const syscall = bind('long syscall(long number, long a, long b, long c)')
const ioctl = bind('int ioctl(int fd, unsigned long request, void *argument)')

// The same on every architecture, as for all system calls of their age.
const SYS_pidfd_open = 434
const SYS_pidfd_getfd = 438
// _IOWR(0xFF, 11, struct pidfd_info), whose first version has 64 bytes.
const PIDFD_GET_INFO = 0xc040ff0b
const PIDFD_INFO_EXIT = 8n

/**
 * A descriptor (pidfd) of a process, which need not be a child: readable once the process has ended, and never that of another process
 * that gets the same pid. Closed on exec; the caller closes it.
 *
 * @throws SystemError ESRCH when there is no such process.
 */
export function openProcess(pid: number): number {
  return check(syscall(SYS_pidfd_open, pid, 0, 0), 'pidfd_open')
}

/** A descriptor of ours for the open file that another process has as `fd`. @throws SystemError EBADF when it has none. */
export function descriptorFrom(processFd: number, fd: number): number {
  return check(syscall(SYS_pidfd_getfd, processFd, fd, 0), 'pidfd_getfd')
}

/**
 * How a process that is no child of ours has ended, as its exit code or 128 + n for signal n. The kernel tells it since 6.15 once the
 * parent has collected the process; before that, and on older kernels, only as long as the parent has not.
 *
 * @returns undefined when it cannot be known, or not yet.
 */
export function exitStatusOf(processFd: number, pid: number): number | undefined {
  const info = Buffer.alloc(64)
  info.writeBigUInt64LE(PIDFD_INFO_EXIT)
  if (ioctl(processFd, PIDFD_GET_INFO, info) === 0 && (info.readBigUInt64LE() & PIDFD_INFO_EXIT) !== 0n)
    return exitStatus(info.readInt32LE(60))
  return statusOfZombie(pid)
}

function statusOfZombie(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? exitStatus(Number(fields[49])) : undefined
  } catch {
    return undefined
  }
}

/** What `wait` reports, as one number: the exit code, or 128 + n when signal n ended the process. */
export function exitStatus(status: number): number {
  const signal = status & 0x7f
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal
}
