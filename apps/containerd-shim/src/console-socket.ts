import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UnknownError } from '@containerd-ts/interface'
import { closeAll, descriptorOf, duplicate, pollReadable, receiveDescriptors } from '@containerd-ts/linux'

/** Where a runtime delivers the controlling side of a new terminal. */
export interface ConsoleSocket {
  readonly path: string
  /** The delivered descriptor, which is the caller's. @throws UnknownError after 30 s, or when the socket is closed before. */
  take(): Promise<number>
  /** Closes what was delivered, too, unless it was taken. */
  close(): void
}

const limitMs = 30_000

export async function openConsoleSocket(): Promise<ConsoleSocket> {
  const dir = mkdtempSync(join(process.env['XDG_RUNTIME_DIR'] ?? tmpdir(), 'pty'))
  const path = join(dir, 'pty.sock')
  // Paused, as Node's own reading would drop the descriptor that comes with the message.
  const server = createServer({ pauseOnConnect: true })
  let taken = false
  let closed = false
  let failed = false
  let fail = (_error: Error) => {}
  const master = new Promise<number>((resolve, reject) => {
    fail = (error) => {
      failed = true
      reject(error)
    }
    const deliver = (fd: number) => {
      if (failed) closeAll([fd])
      else resolve(fd)
    }
    server.once('connection', (socket: Socket) => receive(socket).then(deliver, reject))
    server.once('error', reject)
  })
  const failure = () => new UnknownError('failed to retrieve console master')
  const timer = setTimeout(() => fail(failure()), limitMs)
  master.then(
    () => clearTimeout(timer),
    // Whoever waits for it hears of it; nobody may be waiting when the runtime itself failed.
    () => clearTimeout(timer),
  )
  const close = () => {
    if (closed) return
    closed = true
    fail(failure())
    // A runtime may fail after it has delivered the terminal.
    if (!taken) master.then((fd) => closeAll([fd]), ignore)
    server.close()
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, resolve)
    })
  } catch (error) {
    close()
    throw error
  }
  const take = () => {
    taken = true
    return master
  }
  return { path, take, close }
}

function ignore(): void {}

function receive(socket: Socket): Promise<number> {
  const own = descriptorOf(socket)
  if (own === undefined) return Promise.reject(new UnknownError('failed to retrieve console master'))
  const fd = duplicate(own)
  socket.destroy()
  return new Promise((resolve, reject) => {
    const poll = pollReadable(fd, () => {
      poll.close()
      try {
        const [master, ...others] = receiveDescriptors(fd).fds
        closeAll([fd, ...others])
        if (master === undefined) reject(new UnknownError('failed to retrieve console master'))
        else resolve(master)
      } catch (error) {
        closeAll([fd])
        reject(error)
      }
    })
  })
}
