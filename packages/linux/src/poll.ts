import { node } from 'koffi'

/** Watches a descriptor on the event loop. The descriptor must stay open until `close`. */
export interface Poll {
  /** Stops watching for now. */
  stop(): void
  /** Watches again. */
  start(): void
  /** Stops watching for good. The descriptor is the caller's again. */
  close(): void
}

/** Calls `ready` whenever `fd` can be read or has hung up, until it is stopped or closed; for anything that epoll takes. */
export function pollReadable(fd: number, ready: () => void): Poll {
  const handle = node.poll(fd, { readable: true }, ready)
  return {
    stop: () => handle.stop(),
    start: () => handle.start({ readable: true }, ready),
    close: () => handle.close(),
  }
}
