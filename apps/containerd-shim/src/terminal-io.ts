import { constants, openSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { UnknownError } from '@containerd-ts/interface'
import { closeAll, openFifoForReading, openFifoForWriting, type WindowSize } from '@containerd-ts/linux'
import { type ConsoleSocket, openConsoleSocket } from './console-socket.js'
import { startOutputLogger } from './output-logger.js'
import { pipeReader, pipeWriter } from './pump.js'
import type { AdoptedStdio, ProcessIo, StdioDeps, StdioPaths } from './stdio.js'
import { parseStdio } from './stdio-uri.js'
import { openTerminalMaster, type TerminalMaster } from './terminal-master.js'

/** The terminal of one process, copied between its controlling side and the client's FIFOs. */
export interface TerminalIo extends ProcessIo {
  readonly consoleSocket: string | undefined
  /** The controlling side once there is one; whoever holds it too keeps the terminal from hanging up with this shim. */
  readonly master: number | undefined
  /** Takes over the terminal that the runtime delivered and starts to copy. */
  connect(): Promise<void>
  /** Remembered until there is a terminal; without effect after its end. */
  resize(size: WindowSize): void
}

/** Opens the client's side and waits for the runtime to deliver a terminal. */
export async function openTerminal(paths: StdioPaths, deps: StdioDeps): Promise<TerminalIo> {
  const closers: (() => Promise<void> | void)[] = []
  const closeAllOf = async () => {
    await Promise.all(closers.splice(0).map((close) => close()))
  }
  try {
    const output = await openTerminalOutput(paths.stdout, deps, closers)
    const input = openTerminalInput(paths.stdin, closers)
    const socket = await openConsoleSocket()
    closers.push(() => socket.close())
    return new Terminal(socket, output, input, closeAllOf)
  } catch (error) {
    await closeAllOf()
    throw error
  }
}

/** Goes on with a terminal of which another shim, which is gone, had the controlling side; without that, nothing is copied. */
export function adoptTerminal(process: AdoptedStdio, master: number | undefined): TerminalIo {
  const closers: (() => Promise<void> | void)[] = []
  const release = async () => {
    await Promise.all(closers.splice(0).map((close) => close()))
  }
  // A logger has ended with the pipe that the other shim wrote to.
  const output = optional(() => {
    const path = fifoOf(process.stdout)
    const reader = openFifoForReading(path, false)
    closers.push(() => closeAll([reader]))
    return ownedWriter(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK), closers)
  })
  const input = process.stdinClosed ? undefined : optional(() => openTerminalInput(process.stdin, closers))
  const terminal = new Terminal(undefined, output, input, release)
  if (master !== undefined) terminal.over(master)
  return terminal
}

function fifoOf(uri: string): string {
  const target = parseStdio(uri)
  if (target.kind !== 'fifo') throw new UnknownError(`${JSON.stringify(uri)} is no fifo`)
  return target.path
}

function optional<T>(open: () => T): T | undefined {
  try {
    return open()
  } catch {
    // The client has taken it away.
    return undefined
  }
}

async function openTerminalOutput(
  uri: string,
  deps: StdioDeps,
  closers: (() => Promise<void> | void)[],
): Promise<Writable | undefined> {
  const target = parseStdio(uri)
  if (target.kind === 'null') return undefined
  if (target.kind === 'binary') {
    const logger = await startOutputLogger({ ...deps, ...target })
    closeAll([logger.stderr])
    closers.push(() => logger.stop())
    return ownedWriter(logger.stdout, closers)
  }
  if (target.kind === 'file')
    throw new UnknownError(`unknown STDIO scheme file: a terminal cannot be written to ${JSON.stringify(uri)}`)
  try {
    const fd = await openFifoForWriting(target.path)
    const reader = openFifoForReading(target.path, false)
    closers.push(() => closeAll([reader]))
    return ownedWriter(fd, closers)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new UnknownError(`containerd-shim: opening w/o fifo ${JSON.stringify(target.path)} failed: ${why}`, { cause })
  }
}

function ownedWriter(fd: number, closers: (() => void)[]): Writable {
  const writer = pipeWriter(fd)
  // A client that cannot be written to must not take the shim with it.
  writer.on('error', () => {})
  closers.push(() => {
    writer.destroy()
  })
  return writer
}

interface TerminalInput {
  stream: Socket
  /** Closes the writing end that keeps the stream from ending. */
  release(): void
}

function openTerminalInput(uri: string, closers: (() => void)[]): TerminalInput | undefined {
  const target = parseStdio(uri)
  if (target.kind === 'null') return undefined
  if (target.kind !== 'fifo')
    throw new UnknownError(`containerd-shim: opening ${JSON.stringify(uri)} failed: stdin must be a fifo`)
  const reader = openFifoForReading(target.path, false)
  const holder = openSync(target.path, constants.O_WRONLY | constants.O_NONBLOCK)
  let held = true
  const release = () => {
    if (held) closeAll([holder])
    held = false
  }
  const stream = pipeReader(reader)
  stream.on('error', () => {})
  closers.push(release, () => {
    stream.destroy()
  })
  return { stream, release }
}

// After all programs on a terminal have closed it, it has hung up until another opens it.
const reopenAfterMs = 20
// A program left in the background may keep the terminal open when its process is gone: then silence is the end.
const silenceMs = 100

class Terminal implements TerminalIo {
  readonly child = [null, null, null] as const
  readonly consoleSocket: string | undefined
  readonly drained: Promise<void>
  readonly #socket: ConsoleSocket | undefined
  readonly #output: Writable | undefined
  readonly #input: TerminalInput | undefined
  readonly #release: () => Promise<void>
  master: number | undefined
  #master: TerminalMaster | undefined
  #size: WindowSize | undefined
  /** The receiver of the output is slow. */
  #waiting = false
  #exited = false
  #finished = false
  #timer: NodeJS.Timeout | undefined
  #settleDrained = () => {}

  constructor(
    socket: ConsoleSocket | undefined,
    output: Writable | undefined,
    input: TerminalInput | undefined,
    release: () => Promise<void>,
  ) {
    this.consoleSocket = socket?.path
    this.#socket = socket
    this.#output = output
    this.#input = input
    this.#release = release
    this.drained = new Promise((resolve) => {
      this.#settleDrained = resolve
    })
  }

  async connect(): Promise<void> {
    const fd = await this.#socket?.take()
    this.#socket?.close()
    if (fd !== undefined) this.over(fd)
  }

  /** Copies from and to the controlling side, which is taken over. */
  over(fd: number): void {
    this.master = fd
    const master = openTerminalMaster(fd, {
      data: (chunk) => this.#pass(chunk),
      hangUp: () => this.#onHangUp(),
      drain: () => this.#input?.stream.resume(),
    })
    this.#master = master
    if (this.#size !== undefined) master.resize(this.#size)
    this.#input?.stream.on('data', (chunk: Buffer) => {
      if (!master.write(chunk)) this.#input?.stream.pause()
    })
  }

  handedOver(): void {}

  closeStdin(): void {
    this.#input?.release()
  }

  resize(size: WindowSize): void {
    this.#size = size
    this.#master?.resize(size)
  }

  exited(): void {
    if (this.#exited) return
    this.#exited = true
    this.closeStdin()
    clearTimeout(this.#timer)
    if (this.#waiting) return
    // Most often everything is there by now, and the end of it too.
    this.#master?.readRest()
    if (this.#master === undefined) this.#finish()
    if (this.#finished || this.#waiting) return
    this.#master?.resume()
    this.#awaitSilence()
  }

  async close(): Promise<void> {
    this.#exited = true
    this.#finished = true
    clearTimeout(this.#timer)
    this.#master?.close()
    await this.#release()
    this.#settleDrained()
  }

  #pass(chunk: Buffer): void {
    if (this.#exited) this.#awaitSilence()
    if (this.#output === undefined || this.#output.destroyed || this.#output.write(chunk)) return
    this.#waiting = true
    this.#master?.pause()
    const goOn = () => {
      this.#output?.off('drain', goOn)
      this.#output?.off('close', goOn)
      this.#waiting = false
      if (this.#exited) this.#awaitSilence()
      this.#master?.resume()
    }
    this.#output.on('drain', goOn)
    this.#output.on('close', goOn)
  }

  #onHangUp(): void {
    if (this.#exited) this.#finish()
    else this.#timer = setTimeout(() => this.#master?.resume(), reopenAfterMs)
  }

  #awaitSilence(): void {
    clearTimeout(this.#timer)
    if (this.#finished) return
    this.#timer = setTimeout(() => {
      if (this.#waiting) return
      // Looked at once more, as the event loop may have been busy with something else all the time.
      this.#timer = undefined
      this.#master?.readRest()
      if (this.#timer === undefined && !this.#waiting) this.#finish()
    }, silenceMs)
  }

  #finish(): void {
    if (this.#finished) return
    this.#finished = true
    clearTimeout(this.#timer)
    this.#master?.close()
    if (this.#output === undefined || this.#output.destroyed) this.#settleDrained()
    else this.#output.once('close', this.#settleDrained).end()
  }
}
