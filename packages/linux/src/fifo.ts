import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { setBlocking } from './descriptor.js'
import { isErrno, SystemError, systemError } from './errno.js'
import { bind, check } from './libc.js'

const mkfifo = bind('int mkfifo(const char *path, unsigned int mode)')

/** Creates a FIFO. @throws SystemError EEXIST */
export function makeFifo(path: string, mode: number): void {
  check(mkfifo(path, mode), 'mkfifo', path)
}

/** How a FIFO is opened. */
export interface OpenFifoOptions {
  /** How long to wait for the other side. Default 30 s. */
  timeoutMs?: number
  /** Gives up early with the signal's reason. */
  signal?: AbortSignal
}

/**
 * Opens a FIFO for writing as soon as somebody has it open for reading, without occupying a thread meanwhile. Writes block.
 *
 * @throws SystemError ETIMEDOUT when nobody came, ENXIO when `path` is no FIFO.
 */
export async function openFifoForWriting(path: string, options: OpenFifoOptions = {}): Promise<number> {
  const deadline = performance.now() + (options.timeoutMs ?? 30_000)
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    const fd = tryOpenForWriting(path)
    if (fd !== undefined) return fd
    if (performance.now() >= deadline) throw new SystemError('ETIMEDOUT', -110, 'open', path)
    await sleep(pauseMs, undefined, { signal: options.signal })
  }
}

function tryOpenForWriting(path: string): number | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return undefined
    throw error
  }
  return asFifo(fd, path, true)
}

/** Opens a FIFO for reading at once, whether or not somebody writes to it. `blocking` says how reads behave. */
export function openFifoForReading(path: string, blocking: boolean): number {
  return asFifo(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), path, blocking)
}

/**
 * Holds a FIFO open on both sides: readers see no end of file and writers do not fail while it is held. Nothing waits for it. The
 * descriptor is also an ordinary non-blocking one to read from or to write to.
 */
export function holdFifo(path: string): number {
  return asFifo(openSync(path, constants.O_RDWR | constants.O_NONBLOCK), path, false)
}

// The path belongs to somebody else, who may have put anything there; what is no FIFO must not be taken for one.
function asFifo(fd: number, path: string, blocking: boolean): number {
  try {
    if (!fstatSync(fd).isFIFO()) throw systemError(6, 'open', path)
    if (blocking) setBlocking(fd, true)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
