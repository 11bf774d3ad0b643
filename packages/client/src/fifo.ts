import { constants, openSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeFifo } from '@containerd-ts/linux'

/** FIFOs for the streams of one process, in a directory of their own. */
export interface Stdio {
  readonly stdin: string
  readonly stdout: string
  readonly stderr: string
  /** What the process writes; ends when it has closed the stream. */
  readonly output: { readonly stdout: AsyncIterable<Buffer>; readonly stderr: AsyncIterable<Buffer> }
  /** Ends the reading and removes the directory. */
  close(): Promise<void>
}

/** Makes FIFOs and opens their reading ends, so that whoever writes finds a reader. */
export async function openStdio(): Promise<Stdio> {
  const dir = await mkdtemp(join(tmpdir(), 'containerd-fifo-'))
  const sockets: Socket[] = []
  const reader = (name: string) => {
    const path = join(dir, name)
    makeFifo(path, 0o700)
    // Does not block; the socket owns the descriptor from here on.
    const socket = new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), readable: true, writable: false })
    sockets.push(socket)
    return { path, socket }
  }
  try {
    const stdout = reader('stdout')
    const stderr = reader('stderr')
    return {
      stdin: '',
      stdout: stdout.path,
      stderr: stderr.path,
      output: { stdout: stdout.socket, stderr: stderr.socket },
      async close() {
        for (const socket of sockets) socket.destroy()
        await rm(dir, { recursive: true, force: true })
      },
    }
  } catch (error) {
    for (const socket of sockets) socket.destroy()
    await rm(dir, { recursive: true, force: true })
    throw error
  }
}
