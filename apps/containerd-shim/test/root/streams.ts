import { constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { makeFifo } from '@containerd-ts/linux'

/** The client's side of a process' streams: FIFOs in a directory, read to their end. */
export interface ClientStreams {
  readonly paths: { stdin: string; stdout: string; stderr: string }
  /** What has been read so far. */
  text(stream: 'stdout' | 'stderr'): string
  readonly stdout: Promise<Buffer>
  readonly stderr: Promise<Buffer>
  /** Opens the writing side of stdin, which must be open for reading by then. */
  openStdin(): Socket
  close(): void
}

export interface StreamOptions {
  stdin?: boolean
  stderr?: boolean
}

export function clientStreams(dir: string, name: string, { stdin = false, stderr = true }: StreamOptions = {}): ClientStreams {
  const path = (stream: string) => join(dir, `${name}-${stream}`)
  const readers: { destroy(): void }[] = []
  const collected = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  const read = (stream: 'stdout' | 'stderr'): Promise<Buffer> => {
    makeFifo(path(stream), 0o600)
    const socket = new Socket({
      fd: openSync(path(stream), constants.O_RDONLY | constants.O_NONBLOCK),
      readable: true,
      writable: false,
    })
    readers.push(socket)
    return new Promise((resolve) => {
      socket.on('data', (chunk: Buffer) => collected[stream].push(chunk))
      socket.on('error', () => {})
      socket.on('close', () => resolve(Buffer.concat(collected[stream])))
    })
  }
  if (stdin) makeFifo(path('stdin'), 0o600)
  const out = read('stdout')
  const err = stderr ? read('stderr') : Promise.resolve(Buffer.alloc(0))
  return {
    paths: { stdin: stdin ? path('stdin') : '', stdout: path('stdout'), stderr: stderr ? path('stderr') : '' },
    text: (stream) => Buffer.concat(collected[stream]).toString(),
    stdout: out,
    stderr: err,
    openStdin: () => {
      const fd = openSync(path('stdin'), constants.O_WRONLY | constants.O_NONBLOCK)
      const socket = new Socket({ fd, readable: false, writable: true })
      socket.on('error', () => {})
      readers.push(socket)
      return socket
    },
    close: () => {
      for (const reader of readers) reader.destroy()
    },
  }
}
