import { zeroTimestamp } from '@containerd-ts/api'
import { CanceledError, type Stdio, type TaskExit, type TaskState, type TaskStatus } from '@containerd-ts/interface'

/** What the daemon knows of the processes of one task, so that it need not ask a shim. The empty exec id is the first process. */
export interface ProcessTable {
  /** A process that is not running yet. What is known of it already is forgotten. */
  add(execId: string, stdio: Stdio): void
  /** A process as its shim describes it. */
  learn(execId: string, state: TaskState): void
  /** What its pid is, once that is known. */
  created(execId: string, pid: number): void
  started(execId: string, pid: number): void
  setPaused(paused: boolean): void
  /** False when it is about a process that is not known, or known to have exited. */
  exited(execId: string, exit: TaskExit): boolean
  /** Takes a process away; whoever waits for it gets `exit`. */
  remove(execId: string, exit: TaskExit): void
  state(execId: string): TaskState | undefined
  /** Settles when the process has exited; undefined for one that is not known. @throws CanceledError */
  wait(execId: string, signal: AbortSignal): Promise<TaskExit> | undefined
  /** Processes that are there as far as is known. */
  living(): { execId: string; pid: number; status: TaskStatus }[]
  /** How many processes are known, those that have exited included. */
  readonly size: number
  /** Ends every wait, and those to come. */
  fail(error: Error): void
}

interface Entry extends Stdio {
  pid: number
  status: TaskStatus
  exit: TaskExit | undefined
  /** Exits of which it is not known yet whether they are about this process: events and answers come by different ways. */
  early: TaskExit[]
  readonly waiting: Set<{ resolve(exit: TaskExit): void; reject(error: Error): void }>
}

const maxEarly = 8

/** `ended` hears of every process that has exited or was removed. */
export function createProcessTable(containerId: string, ended: (execId: string) => void = () => {}): ProcessTable {
  const entries = new Map<string, Entry>()
  let failure: Error | undefined

  const settle = (entry: Entry, exit: TaskExit): void => {
    for (const { resolve } of entry.waiting) resolve(exit)
    entry.waiting.clear()
  }
  const apply = (execId: string, entry: Entry, exit: TaskExit): void => {
    ended(execId)
    entry.status = 'stopped'
    entry.exit = exit
    settle(entry, exit)
  }
  const created = (execId: string, pid: number): void => {
    const entry = entries.get(execId)
    if (entry === undefined || pid === 0) return
    entry.pid = pid
    const exit = entry.early.find((early) => early.pid === pid)
    entry.early = []
    if (exit !== undefined) apply(execId, entry, exit)
  }
  const isPaused = () => entries.get('')?.status === 'paused'

  return {
    add: (execId, { stdin, stdout, stderr, terminal }) => {
      const stdio = { stdin, stdout, stderr, terminal }
      entries.set(execId, { ...stdio, pid: 0, status: 'created', exit: undefined, early: [], waiting: new Set() })
    },
    learn: (execId, { stdin, stdout, stderr, terminal, pid, status, exitStatus, exitedAt }) => {
      const stdio = { stdin, stdout, stderr, terminal }
      const known = entries.get(execId)
      if (known?.status === 'stopped') return
      const entry: Entry = { ...stdio, pid, status, exit: undefined, early: [], waiting: known?.waiting ?? new Set() }
      entries.set(execId, entry)
      if (status === 'stopped') apply(execId, entry, { pid, exitStatus, exitedAt: exitedAt ?? zeroTimestamp })
    },
    created,
    started: (execId, pid) => {
      const entry = entries.get(execId)
      if (entry === undefined || (entry.pid !== 0 && entry.pid !== pid)) return
      if (entry.status === 'created') entry.status = 'running'
      if (entry.pid === 0) created(execId, pid)
    },
    setPaused: (paused) => {
      const entry = entries.get('')
      if (entry?.status === (paused ? 'running' : 'paused')) entry.status = paused ? 'paused' : 'running'
    },
    exited: (execId, exit) => {
      const entry = entries.get(execId)
      if (entry === undefined || entry.exit !== undefined) return false
      if (entry.pid === 0) {
        entry.early = [...entry.early.slice(1 - maxEarly), exit]
        return false
      }
      if (entry.pid !== exit.pid) return false
      apply(execId, entry, exit)
      return true
    },
    remove: (execId, exit) => {
      const entry = entries.get(execId)
      entries.delete(execId)
      ended(execId)
      if (entry !== undefined) settle(entry, exit)
    },
    state: (execId) => {
      const entry = entries.get(execId)
      if (entry === undefined) return undefined
      const { pid, stdin, stdout, stderr, terminal, exit } = entry
      // The whole container is frozen, not a process of it.
      const status = execId !== '' && entry.status === 'running' && isPaused() ? 'paused' : entry.status
      const id = execId === '' ? containerId : execId
      const ended = { exitStatus: exit?.exitStatus ?? 0, exitedAt: exit?.exitedAt ?? zeroTimestamp }
      return { containerId, id, pid, status, stdin, stdout, stderr, terminal, ...ended }
    },
    wait: (execId, signal) => {
      const entry = entries.get(execId)
      if (failure !== undefined && entry?.exit === undefined) return Promise.reject(failure)
      return entry === undefined ? undefined : waitFor(entry, signal)
    },
    living: () =>
      [...entries]
        .filter(([, { exit, pid, status }]) => exit === undefined && (pid > 0 || status === 'unknown'))
        .map(([execId, { pid, status }]) => ({ execId, pid, status })),
    get size() {
      return entries.size
    },
    fail: (error) => {
      failure = error
      for (const { waiting } of entries.values()) {
        for (const { reject } of waiting) reject(error)
        waiting.clear()
      }
    },
  }
}

function waitFor({ exit, waiting }: Entry, signal: AbortSignal): Promise<TaskExit> {
  if (exit !== undefined) return Promise.resolve(exit)
  if (signal.aborted) return Promise.reject(new CanceledError('waiting for a process'))
  return new Promise((resolve, reject) => {
    const waiter = { resolve, reject }
    const stop = () => {
      waiting.delete(waiter)
      reject(new CanceledError('waiting for a process'))
    }
    waiter.resolve = (ended) => {
      signal.removeEventListener('abort', stop)
      resolve(ended)
    }
    waiter.reject = (error: Error) => {
      signal.removeEventListener('abort', stop)
      reject(error)
    }
    signal.addEventListener('abort', stop, { once: true })
    waiting.add(waiter)
  })
}
