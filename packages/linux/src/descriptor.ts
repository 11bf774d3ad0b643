import { bind, check } from './libc.js'

const F_GETFL = 3
const F_SETFL = 4
const F_DUPFD_CLOEXEC = 1030
const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000

const fcntl = bind('int fcntl(int fd, int command, int argument)')
const pipe2 = bind('int pipe2(void *fds, int flags)')
const memfdCreate = bind('int memfd_create(const char *name, unsigned int flags)')

/** A pipe: what is written to `write` comes out of `read`. Both ends block and are closed on exec; the caller closes them. */
export function createPipe(): { read: number; write: number } {
  const fds = Buffer.alloc(8)
  check(pipe2(fds, O_CLOEXEC), 'pipe2')
  return { read: fds.readInt32LE(0), write: fds.readInt32LE(4) }
}

/** An anonymous file in memory, readable and writable, closed on exec. The caller closes it. */
export function createMemoryFile(name: string): number {
  const MFD_CLOEXEC = 1
  return check(memfdCreate(name, MFD_CLOEXEC), 'memfd_create')
}

/** Another descriptor of the same open file, with the lowest free number from `least` on, closed on exec. */
export function duplicate(fd: number, least = 0): number {
  return check(fcntl(fd, F_DUPFD_CLOEXEC, least), 'fcntl')
}

/** Makes reads and writes of an open file wait, or fail with EAGAIN where they would. Holds for every descriptor of that open file. */
export function setBlocking(fd: number, blocking: boolean): void {
  const flags = check(fcntl(fd, F_GETFL, 0), 'fcntl')
  check(fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK), 'fcntl')
}
