import { readFileSync } from 'node:fs'
import { cString, type Path, pathText } from './c-string.js'
import { bind, check } from './libc.js'

// Node's threads share root, working directory and umask with each other until one of them takes its own with `unshare`.
const callUnshare = bind('int unshare(int flags)')
const callSetns = bind('int setns(int fd, int type)')
const callChroot = bind('int chroot(const void *path)')
const callChdir = bind('int chdir(const void *path)')
const callFchdir = bind('int fchdir(int fd)')
const callUmask = bind('unsigned int umask(unsigned int mask)')

/** What a thread can have for itself. */
export const Unshare = {
  /** Root, working directory and umask. */
  Filesystem: 0x200,
  /** The mount table; takes `Filesystem` with it. */
  Mounts: 0x20000,
} as const

/**
 * Gives the calling thread copies of its own of what `flags` names; to be used in a worker thread, never in the main thread. The copy
 * of the mount table goes away with the thread.
 *
 * @throws SystemError EPERM without CAP_SYS_ADMIN.
 */
export function unshare(flags: number): void {
  check(callUnshare(flags), 'unshare')
}

/** Takes the calling thread to the mount namespace that `fd` refers to, root and working directory to its root. @throws SystemError */
export function enterMountNamespace(fd: number): void {
  check(callSetns(fd, Unshare.Mounts), 'setns')
}

/** chroot(2) of the calling thread, and of all that share its root. @throws SystemError */
export function changeRoot(path: Path): void {
  check(callChroot(cString(path)), 'chroot', pathText(path))
}

/** chdir(2) of the calling thread, also where `process.chdir` is not available. @throws SystemError */
export function changeDirectory(path: Path): void {
  check(callChdir(cString(path)), 'chdir', pathText(path))
}

/** fchdir(2), see {@link changeDirectory}. */
export function changeDirectoryTo(fd: number): void {
  check(callFchdir(fd), 'fchdir')
}

/** umask(2) of the calling thread, also where `process.umask` is not available. Gives back the former one. */
export function setUmask(mask: number): number {
  return callUmask(mask)
}

/** True when this process runs in a user namespace other than the first one, where devices and trusted attributes are out of reach. */
export function inUserNamespace(): boolean {
  try {
    const [inside, outside, count] = readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)
    return !(inside === '0' && outside === '0' && count === '4294967295')
  } catch {
    // Kernels without user namespaces.
    return false
  }
}
