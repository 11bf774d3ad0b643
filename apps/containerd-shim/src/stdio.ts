import { closeSync, constants, fchownSync, fstatSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { UnknownError } from '@containerd-ts/interface'
import { closeAll, createPipe, openFifoForReading, openFifoForWriting, type Reaper } from '@containerd-ts/linux'
import { startOutputLogger } from './output-logger.js'
import { fileWriter, pipeReader, pump } from './pump.js'
import type { ChildStdio } from './runc.js'
import { parseStdio } from './stdio-uri.js'

export interface StdioPaths {
  stdin: string
  stdout: string
  stderr: string
}

export interface StdioDeps {
  reaper: Reaper
  containerId: string
  namespace: string
  /** Owner of pipes made here. */
  ioUid: number
  ioGid: number
}

/** The standard streams of one process, as long as there is anything to hold for it. */
export interface ProcessIo {
  /** What the runtime gets as descriptors 0 to 2. */
  readonly child: ChildStdio
  /** To be called once the runtime has run: closes what only the process shall have, so that its end is the end of the stream. */
  handedOver(): void
  /** Lets the process see the end of its input, once the client has closed its side too. */
  closeStdin(): void
  /** Settles when everything that the process wrote has been passed on. */
  readonly drained: Promise<void>
  /** To be called when the process has exited. Output that nobody has read stays readable until `close`. */
  exited(): void
  /** Lets go of everything. */
  close(): Promise<void>
}

/**
 * Opens the streams of a process without a terminal. FIFOs are handed to the process itself: what it writes never passes through here.
 *
 * @throws UnknownError when a stream cannot be opened, for a FIFO also when its reader does not come within 30 s.
 */
export async function openStdio(paths: StdioPaths, deps: StdioDeps): Promise<ProcessIo> {
  const held = new Resources()
  try {
    const output = await openOutput(paths, deps, held)
    const stdin = openStdin(paths.stdin, held)
    return processIo([stdin, output.stdout, output.stderr], output.copies, held)
  } catch (error) {
    await held.close()
    throw error
  }
}

/** Streams of a process that another shim, which is gone, has started. */
export interface AdoptedStdio extends StdioPaths {
  pid: number
  /** Whether the client has asked for the end of stdin. */
  stdinClosed: boolean
}

/** Takes over the streams of a running process without a terminal, as far as they can be. */
export function adoptStdio(process: AdoptedStdio): ProcessIo {
  const held = new Resources()
  const copies = [
    adoptOutput(process.stdout, process.pid, 1, held),
    // A file takes both from one pipe.
    process.stdout.startsWith('file:') ? undefined : adoptOutput(process.stderr, process.pid, 2, held),
  ].filter((copy) => copy !== undefined)
  if (!process.stdinClosed) held.stdinHolder = tryOpen(pathOfFifo(process.stdin), constants.O_WRONLY | constants.O_NONBLOCK)
  return processIo([null, null, null], copies, held)
}

function adoptOutput(uri: string, pid: number, fd: number, held: Resources): Promise<void> | undefined {
  const target = uri === '' ? undefined : parseStdio(uri)
  if (target === undefined || target.kind === 'null' || target.kind === 'binary') return undefined
  const fifo = pathOfFifo(uri)
  if (fifo !== undefined) {
    const reader = tryOpen(fifo, constants.O_RDONLY | constants.O_NONBLOCK)
    if (reader !== undefined) held.readers.add(reader)
    return undefined
  }
  // The pipe that the process writes into has lost its reader, but the process still has the pipe.
  const pipe = tryOpen(`/proc/${pid}/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK)
  const file = tryOpen(target.path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT)
  if (pipe !== undefined && file !== undefined && fstatSync(pipe).isFIFO()) return copyTo(file, pipe, held)
  closeAll([pipe, file].filter((opened) => opened !== undefined))
  return undefined
}

/** The path of a URI that names a FIFO which is there. */
export function pathOfFifo(uri: string): string | undefined {
  if (uri === '') return undefined
  const target = parseStdio(uri)
  const isFifo = target.kind === 'fifo' && statSync(target.path, { throwIfNoEntry: false })?.isFIFO() === true
  return isFifo ? target.path : undefined
}

function tryOpen(path: string | undefined, flags: number): number | undefined {
  try {
    return path === undefined ? undefined : openSync(path, flags, 0o644)
  } catch {
    // The process or its client has gone, or has put something else in its place.
    return undefined
  }
}

/** What a process' streams hold here, by when it is let go. */
class Resources {
  /** Descriptors for the child. */
  readonly child = new Set<number>()
  /** The writing end that keeps the child's stdin from ending. */
  stdinHolder: number | undefined
  /** Reading ends that keep the child's writes from failing. */
  readonly readers = new Set<number>()
  readonly closers: (() => Promise<void> | void)[] = []

  closeChild(): void {
    closeAll(this.child)
    this.child.clear()
  }

  closeStdin(): void {
    if (this.stdinHolder !== undefined) closeAll([this.stdinHolder])
    this.stdinHolder = undefined
  }

  async close(): Promise<void> {
    this.closeChild()
    this.closeStdin()
    closeAll(this.readers)
    this.readers.clear()
    await Promise.all(this.closers.splice(0).map((close) => close()))
  }
}

function processIo(child: ChildStdio, copies: readonly Promise<void>[], held: Resources): ProcessIo {
  return {
    child,
    handedOver: () => held.closeChild(),
    closeStdin: () => held.closeStdin(),
    drained: Promise.all(copies).then(() => {}),
    exited: () => held.closeStdin(),
    close: () => held.close(),
  }
}

interface Output {
  stdout: number | null
  stderr: number | null
  copies: Promise<void>[]
}

async function openOutput({ stdout, stderr }: StdioPaths, deps: StdioDeps, held: Resources): Promise<Output> {
  if (stdout === '' && stderr === '') return { stdout: null, stderr: null, copies: [] }
  const target = parseStdio(stdout)
  switch (target.kind) {
    case 'binary': {
      const logger = await startOutputLogger({ ...deps, ...target })
      held.child.add(logger.stdout).add(logger.stderr)
      held.closers.push(() => logger.stop())
      giveAway([logger.stdout, logger.stderr], deps)
      return { stdout: logger.stdout, stderr: logger.stderr, copies: [] }
    }
    case 'file': {
      mkdirSync(dirname(target.path), { recursive: true, mode: 0o755 })
      const copy = openFileCopy(target.path, deps, held)
      return { stdout: copy.fd, stderr: copy.fd, copies: [copy.done] }
    }
    default: {
      const opened = await openBoth((uri, signal) => openFifoOrFile(uri, deps, held, signal), stdout, stderr)
      return {
        stdout: opened[0].fd,
        stderr: opened[1].fd,
        copies: opened.flatMap(({ done }) => (done === undefined ? [] : [done])),
      }
    }
  }
}

/** Opens both at the same time; when one fails, the other is not waited for and nothing of it is left to come. */
async function openBoth<T>(
  open: (uri: string, signal: AbortSignal) => Promise<T>,
  stdout: string,
  stderr: string,
): Promise<[T, T]> {
  const giveUp = new AbortController()
  const opening = [stdout, stderr].map(async (uri) => {
    try {
      return await open(uri, giveUp.signal)
    } catch (error) {
      giveUp.abort(error)
      throw error
    }
  })
  await Promise.allSettled(opening)
  giveUp.signal.throwIfAborted()
  const [first, second] = await Promise.all(opening)
  return [first as T, second as T]
}

async function openFifoOrFile(
  uri: string,
  deps: StdioDeps,
  held: Resources,
  signal: AbortSignal,
): Promise<{ fd: number; done?: Promise<void> }> {
  const target = parseStdio(uri)
  if (target.kind !== 'fifo') throw new UnknownError(`containerd-shim: opening file ${JSON.stringify(uri)} failed: no path`)
  if (statSync(target.path, { throwIfNoEntry: false })?.isFIFO() !== true) return openFileCopy(target.path, deps, held)
  try {
    // The reader comes first: it is a sign of life, and what is written into a FIFO that nobody ever opened would be lost.
    const writer = await openFifoForWriting(target.path, { signal })
    const fd = openForBoth(writer)
    held.child.add(fd)
    giveAway([fd], deps)
    // Held too, so that what nobody has read when the process ends stays there until a client comes.
    held.readers.add(openFifoForReading(target.path, false))
    return { fd }
  } catch (cause) {
    throw new UnknownError(`containerd-shim: opening w/o fifo ${JSON.stringify(target.path)} failed: ${reason(cause)}`, { cause })
  }
}

/**
 * A pipe that is copied to the end of a file. The process does not get the file itself: it could truncate it, as a shell does with
 * `> /dev/stdout`, and would own it.
 */
function openFileCopy(path: string, deps: StdioDeps, held: Resources): { fd: number; done: Promise<void> } {
  let file: number
  try {
    file = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o644)
  } catch (cause) {
    throw new UnknownError(`containerd-shim: opening file ${JSON.stringify(path)} failed: ${reason(cause)}`, { cause })
  }
  const pipe = createPipe()
  const fd = openForBoth(pipe.write)
  held.child.add(fd)
  giveAway([fd], deps)
  return { fd, done: copyTo(file, pipe.read, held) }
}

function copyTo(file: number, from: number, held: Resources): Promise<void> {
  const reader = pipeReader(from)
  held.closers.push(() => {
    reader.destroy()
  })
  return pump(reader, fileWriter(file))
}

/**
 * The same pipe or FIFO, open for reading too, in place of `writer`: a process that writes to it is its own reader, so that neither a
 * client nor a shim that goes away makes it fail.
 */
function openForBoth(writer: number): number {
  try {
    return openSync(`/proc/self/fd/${writer}`, constants.O_RDWR)
  } finally {
    closeSync(writer)
  }
}

function openStdin(uri: string, held: Resources): number | null {
  if (uri === '') return null
  const target = parseStdio(uri)
  if (target.kind !== 'fifo')
    throw new UnknownError(`containerd-shim: opening ${JSON.stringify(uri)} failed: stdin must be a fifo`)
  let reader: number
  try {
    reader = openFifoForReading(target.path, true)
  } catch (cause) {
    throw new UnknownError(`containerd-shim: opening ${JSON.stringify(target.path)} failed: ${reason(cause)}`, { cause })
  }
  held.child.add(reader)
  held.stdinHolder = openSync(target.path, constants.O_WRONLY | constants.O_NONBLOCK)
  return reader
}

// A process opens its own streams again under /dev/stdout, for which it must own them.
function giveAway(fds: readonly number[], { ioUid, ioGid }: StdioDeps): void {
  if (ioUid === 0 && ioGid === 0) return
  for (const fd of fds) fchownSync(fd, ioUid, ioGid)
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
