import { closeSync, fstatSync, readSync, writeSync } from 'node:fs'
import { createMemoryFile } from './descriptor.js'
import { killQuietly } from './process.js'
import type { Reaper } from './reaper.js'
import { type SpawnOptions, spawn } from './spawn.js'

/** How a program is run to its end. */
export interface ExecuteOptions extends Omit<SpawnOptions, 'stdio'> {
  /** What the program reads from its standard input. Default: nothing. */
  input?: Uint8Array
  /** Further descriptors of ours, which the program gets as 3, 4 and so on. They stay the caller's. Default: none. */
  descriptors?: readonly number[]
  /** Collects standard error apart from standard output. */
  separateErrors?: boolean
  /** Kills the program when aborted; the exit is still awaited. */
  signal?: AbortSignal
}

/** How a program ended and what it said. */
export interface Execution {
  pid: number
  status: number
  /** Standard output; with standard error in the order of writing unless that is collected apart. */
  output: Buffer
  /** Standard error when it is collected apart. */
  errors: Buffer
}

/**
 * Runs a program to its end and collects what it prints. Input and output are files in memory: there is no limit, nobody blocks on
 * the other side, and a descendant that keeps the output open delays nothing.
 *
 * @throws SystemError when it cannot be started.
 */
export async function execute(reaper: Reaper, file: string, options: ExecuteOptions = {}): Promise<Execution> {
  const { input, descriptors = [], separateErrors, signal, ...rest } = options
  const output = createMemoryFile('output')
  const opened = [output]
  try {
    const errors = separateErrors ? createMemoryFile('errors') : output
    if (separateErrors) opened.push(errors)
    const stdin = input === undefined || input.length === 0 ? null : memoryFileOf(input)
    if (stdin !== null) opened.push(stdin)
    const pid = spawn(file, { ...rest, stdio: [stdin, output, errors, ...descriptors] })
    const exit = reaper.wait(pid)
    const kill = () => killQuietly(pid)
    signal?.addEventListener('abort', kill, { once: true })
    if (signal?.aborted) kill()
    const status = await exit
    signal?.removeEventListener('abort', kill)
    return { pid, status, output: contentOf(output), errors: separateErrors ? contentOf(errors) : Buffer.alloc(0) }
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

function memoryFileOf(bytes: Uint8Array): number {
  const fd = createMemoryFile('input')
  // Positioned writes leave the offset at the start, from where the reader reads.
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written, bytes.length - written, written)
  return fd
}

function contentOf(fd: number): Buffer {
  const content = Buffer.alloc(fstatSync(fd).size)
  let length = 0
  while (length < content.length) {
    const count = readSync(fd, content, length, content.length - length, length)
    if (count === 0) break
    length += count
  }
  return content.subarray(0, length)
}
