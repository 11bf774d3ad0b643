import { createWriteStream } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'

/** A pipe or FIFO as a stream; it owns the descriptor, which becomes non-blocking. */
export function pipeReader(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false })
}

/** As {@link pipeReader}, for the writing side. */
export function pipeWriter(fd: number): Socket {
  return new Socket({ fd, readable: false, writable: true })
}

/** A regular file as a stream; it owns the descriptor. */
export function fileWriter(fd: number): Writable {
  // The path is not used when a descriptor is given.
  return createWriteStream('', { fd, autoClose: true })
}

/**
 * Copies until `from` ends or is destroyed, or either side fails, at the pace of the receiver. Then `to` is ended, and what was written to it is out.
 * Never fails: there is nobody left to tell what happened to a container's output.
 */
export function pump(from: Readable, to: Writable): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      from.destroy()
      resolve()
    }
    from.on('error', () => {})
    // After its end, after an error, and when it was let go before either.
    from.on('close', () => to.end())
    to.on('error', finish)
    to.on('close', finish)
    to.on('finish', finish)
    from.pipe(to)
  })
}
