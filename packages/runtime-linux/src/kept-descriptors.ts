import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { closeAll, descriptorFrom, openProcess } from '@containerd-ts/linux'
import type { Bundle } from './bundle.js'

/**
 * Descriptors that the daemon has of the processes of one task, so that the death of their shim takes nothing away: the controlling
 * sides of terminals while they are used, and pidfds from the moment of that death until another shim has taken over.
 */
export interface KeptDescriptors {
  /** Keeps the terminal of a process, which our own shim says in the bundle where it has it. Nothing happens when it has none. */
  keepTerminal(bundle: Bundle, execId: string, shimPid: number): void
  /** Lets go of a process that has ended. */
  release(execId: string): void
  releaseAll(): void
  terminal(execId: string): number | undefined
}

export function createKeptDescriptors(): KeptDescriptors {
  const terminals = new Map<string, number>()
  const release = (execId: string) => {
    const fd = terminals.get(execId)
    if (fd !== undefined) closeAll([fd])
    terminals.delete(execId)
  }
  return {
    keepTerminal: (bundle, execId, shimPid) => {
      const fd = tryTakeTerminal(bundle, execId, shimPid)
      release(execId)
      if (fd !== undefined) terminals.set(execId, fd)
    },
    release,
    releaseAll: () => {
      for (const execId of [...terminals.keys()]) release(execId)
    },
    terminal: (execId) => terminals.get(execId),
  }
}

function tryTakeTerminal(bundle: Bundle, execId: string, shimPid: number): number | undefined {
  try {
    const name = execId === '' ? 'task.json' : `${execId}.exec.json`
    const { master } = JSON.parse(readFileSync(join(bundle.path, name), 'utf8')) as { master?: unknown }
    if (typeof master !== 'number') return undefined
    const shim = openProcess(shimPid)
    try {
      return descriptorFrom(shim, master)
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

/** Opens a pidfd of a process that has just lost its shim; the caller closes it. Without one, the process has ended too. */
export function tryOpenProcess(pid: number): number | undefined {
  try {
    return openProcess(pid)
  } catch {
    return undefined
  }
}
