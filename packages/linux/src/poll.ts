import { closeSync, readSync } from 'node:fs'
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

/** Everything that comes out of a pipe until its end, without occupying a thread. The descriptor is closed. */
export function readToEnd(fd: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const poll = pollReadable(fd, () => {
      const chunk = Buffer.alloc(4096)
      const count = readSync(fd, chunk, 0, chunk.length, null)
      chunks.push(chunk.subarray(0, count))
      if (count > 0) return
      poll.close()
      closeSync(fd)
      resolve(Buffer.concat(chunks))
    })
  })
}
