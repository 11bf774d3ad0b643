import { bind, check } from './libc.js'

const eventfd = bind('int eventfd(unsigned int value, int flags)')

/** A counter to be notified with: non-blocking, closed on exec, 8 bytes to read. The caller closes it. */
export function createEventFd(): number {
  return check(eventfd(0, 0o2000000 | 0o4000), 'eventfd')
}
