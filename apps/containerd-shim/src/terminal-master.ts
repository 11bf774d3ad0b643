import { readSync, writeSync } from 'node:fs'
import { closeAll, isErrno, type Poll, pollReadable, setBlocking, setWindowSize, type WindowSize } from '@containerd-ts/linux'

/**
 * The controlling side of a terminal. Node's own stream for it takes a hang-up for the end although there is more to read, and so
 * loses what a process wrote last.
 */
export interface TerminalMaster {
  /** Stops reading until `resume`, for a receiver that is slow. */
  pause(): void
  resume(): void
  /** False when the terminal takes no more for now. What was not taken is kept and written before `drain` is called. */
  write(chunk: Buffer): boolean
  resize(size: WindowSize): void
  /** Reads what there is now, at once. */
  readRest(): void
  close(): void
}

export interface TerminalMasterEvents {
  data(chunk: Buffer): void
  /** Nobody has the terminal open, and everything is read. Nothing is read from here on, until `resume`. */
  hangUp(): void
  /** The terminal takes input again. */
  drain(): void
}

// What is read in one turn of the event loop, so that one busy terminal leaves time for others.
const readsPerTurn = 16
// A terminal hands out less than this at once.
const chunkSize = 4096
const retryWriteMs = 5

/** Takes over the descriptor. */
export function openTerminalMaster(fd: number, events: TerminalMasterEvents): TerminalMaster {
  setBlocking(fd, false)
  let pending: Buffer[] = []
  let retry: NodeJS.Timeout | undefined
  let closed = false
  let paused = false

  /** False when there is nothing now, or nothing ever. */
  const readOnce = (): boolean => {
    const chunk = Buffer.allocUnsafe(chunkSize)
    try {
      const count = readSync(fd, chunk)
      if (count > 0) {
        events.data(chunk.subarray(0, count))
        return true
      }
    } catch (error) {
      if (isErrno(error, 'EAGAIN')) return false
    }
    // EIO, for which ptys are known.
    poll.stop()
    events.hangUp()
    return false
  }
  const read = () => {
    for (let i = 0; i < readsPerTurn && !closed && !paused; i++) if (!readOnce()) return
  }
  const poll: Poll = pollReadable(fd, read)

  const writePending = (): void => {
    retry = undefined
    for (let chunk = pending[0]; chunk !== undefined; chunk = pending[0]) {
      const count = writeSome(fd, chunk)
      if (count < chunk.length) {
        pending[0] = chunk.subarray(count)
        retry = setTimeout(writePending, retryWriteMs)
        return
      }
      pending.shift()
    }
    events.drain()
  }

  return {
    pause: () => {
      paused = true
      poll.stop()
    },
    resume: () => {
      paused = false
      if (!closed) poll.start()
    },
    write: (chunk) => {
      if (closed) return true
      if (pending.length === 0) {
        const count = writeSome(fd, chunk)
        if (count === chunk.length) return true
        chunk = chunk.subarray(count)
      }
      pending.push(chunk)
      retry ??= setTimeout(writePending, retryWriteMs)
      return false
    },
    resize: (size) => {
      if (!closed) setWindowSize(fd, size)
    },
    readRest: () => {
      while (!closed && !paused && readOnce());
    },
    close: () => {
      if (closed) return
      closed = true
      clearTimeout(retry)
      pending = []
      poll.close()
      closeAll([fd])
    },
  }
}

/** How many bytes the terminal took; all of them when it is gone, as nobody will ever read them. */
function writeSome(fd: number, chunk: Buffer): number {
  try {
    return writeSync(fd, chunk)
  } catch (error) {
    return isErrno(error, 'EAGAIN') ? 0 : chunk.length
  }
}
