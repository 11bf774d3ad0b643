import { Socket } from 'node:net'
import { holdFifo } from '@containerd-ts/linux'
import type { Logger } from '@containerd-ts/plugin'

/** Passes on what arrives at a bundle's log FIFO, as it is, to this process' standard error, until it is closed. */
export interface ShimLog {
  close(): void
}

export function openShimLog(path: string, log: Logger): ShimLog {
  let socket: Socket
  try {
    // Held open for writing too: shims come and go without an end of file.
    socket = new Socket({ fd: holdFifo(path), readable: true, writable: false })
  } catch (error) {
    log.warn('cannot open the log of a shim', { path, error })
    return { close: () => {} }
  }
  socket.unref()
  socket.on('error', (error) => log.debug('the log of a shim ended', { path, error }))
  socket.on('data', (chunk: Buffer) => process.stderr.write(chunk))
  return { close: () => socket.destroy() }
}
