import { constants, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Stdio } from '@containerd-ts/interface'
import { closeAll, descriptorFrom, openProcess } from '@containerd-ts/linux'
import type { Bundle } from './bundle.js'

/**
 * Descriptors that the daemon has of the processes of one task, so that the death of their shim takes nothing away: neither their terminal,
 * nor the other side of a FIFO, without which a client's write fails, or a reader takes it for the end.
 */
export interface KeptDescriptors {
  /** Keeps what a process of our own shim needs; the shim says in the bundle where it has the terminal. */
  keep(bundle: Bundle, execId: string, stdio: Stdio, shimPid: number): void
  /** Lets go of the writing side of stdin, so that it may end. */
  releaseStdin(execId: string): void
  /** Lets go of a process that has ended. */
  release(execId: string): void
  releaseAll(): void
  terminal(execId: string): number | undefined
  /** How many descriptors there are. */
  readonly size: number
}

interface Kept {
  terminal?: number | undefined
  stdin?: number | undefined
  stdout?: number | undefined
}

export function createKeptDescriptors(): KeptDescriptors {
  const kept = new Map<string, Kept>()
  const release = (execId: string) => {
    closeAll(Object.values(kept.get(execId) ?? {}).filter((fd) => fd !== undefined))
    kept.delete(execId)
  }
  return {
    keep: (bundle, execId, { terminal, stdin, stdout }, shimPid) => {
      if (!terminal && stdin === '') return
      const { master, stdinClosed } = recordOf(bundle, execId)
      const held: Kept = terminal
        ? {
            terminal: tryTake(shimPid, master),
            stdin: tryOpenFifo(stdin, constants.O_RDONLY),
            stdout: tryOpenFifo(stdout, constants.O_WRONLY),
          }
        : // It has the reading side itself.
          { stdin: stdinClosed ? undefined : tryOpenFifo(stdin, constants.O_WRONLY) }
      release(execId)
      kept.set(execId, held)
    },
    releaseStdin: (execId) => {
      const { stdin, ...rest } = kept.get(execId) ?? {}
      if (stdin === undefined || rest.terminal !== undefined) return
      closeAll([stdin])
      kept.set(execId, rest)
    },
    release,
    releaseAll: () => {
      for (const execId of [...kept.keys()]) release(execId)
    },
    terminal: (execId) => kept.get(execId)?.terminal,
    get size() {
      return [...kept.values()].flatMap((held) => Object.values(held).filter((fd) => fd !== undefined)).length
    },
  }
}

function tryOpenFifo(uri: string, flags: number): number | undefined {
  const path = uri.replace(/^fifo:\/\//, '')
  try {
    return statSync(path).isFIFO() ? openSync(path, flags | constants.O_NONBLOCK) : undefined
  } catch {
    // No file, nobody on the other side, or gone.
    return undefined
  }
}

/** What our own shim keeps in the bundle of a process. */
function recordOf(bundle: Bundle, execId: string): { master: number | undefined; stdinClosed: boolean } {
  try {
    const name = execId === '' ? 'task.json' : `${execId}.exec.json`
    const record = JSON.parse(readFileSync(join(bundle.path, name), 'utf8')) as { master?: unknown; stdinClosed?: unknown }
    return {
      master: typeof record.master === 'number' ? record.master : undefined,
      stdinClosed: record.stdinClosed === true,
    }
  } catch {
    // It has not got so far.
    return { master: undefined, stdinClosed: false }
  }
}

function tryTake(shimPid: number, fd: number | undefined): number | undefined {
  if (fd === undefined) return undefined
  try {
    const shim = openProcess(shimPid)
    try {
      return descriptorFrom(shim, fd)
    } finally {
      closeAll([shim])
    }
  } catch {
    // The process or its shim has ended, or the kernel (before 5.6) knows no such call: the terminal goes with its shim then.
    return undefined
  }
}

/** What is handed to the shim that takes over, by pid. */
export interface Handover {
  readonly pid: number
  readonly process?: number
  readonly master?: number
}

/** What a shim takes over: the address of the one that is gone, and descriptors of its processes, which stay the caller's. */
export interface Takeover {
  readonly address: string
  readonly handover: readonly Handover[]
}

/** Descriptors that a shim shall get from `first` on, and the variable that tells it which they are. */
export function passOn(
  handover: readonly Handover[],
  first: number,
): { descriptors: number[]; env: Readonly<Record<string, string>> } {
  if (handover.length === 0) return { descriptors: [], env: {} }
  const descriptors: number[] = []
  const place = (fd: number | undefined) => (fd === undefined ? undefined : first + descriptors.push(fd) - 1)
  // What is undefined is left out of the text.
  const places = handover.map(({ pid, process, master }) => [pid, { process: place(process), master: place(master) }])
  return { descriptors, env: { CONTAINERD_SHIM_KEPT: JSON.stringify(Object.fromEntries(places)) } }
}

/** Opens a pidfd of a process that has just lost its shim; the caller closes it. Without one, the process has ended too. */
export function tryOpenProcess(pid: number): number | undefined {
  try {
    return openProcess(pid)
  } catch {
    return undefined
  }
}
