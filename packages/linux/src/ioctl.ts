import { bindInBackground } from './background.js'
import { bind, check } from './libc.js'

const prototype = 'int ioctl(int fd, unsigned long request, void *argument)'
const now = bind(prototype)
const inBackground = bindInBackground(prototype, 'ioctl')

/** ioctl(2) with an argument in memory, which the kernel may change. Gives back the call's result. @throws SystemError */
export function ioctlSync(fd: number, request: number, argument: Buffer): number {
  return check(now(fd, request, argument), 'ioctl')
}

/** {@link ioctlSync} off the event loop, for requests that wait for a disk. */
export function ioctl(fd: number, request: number, argument: Buffer): Promise<number> {
  return inBackground([fd, request, argument])
}
