import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Exit } from './exit-tracker.js'

/*
 * What a shim keeps in a bundle for the one that takes over when it is killed:
 *
 *   task.json          the first process
 *   <exec>.exec.json   every other process that was started
 */

/** One process as it is kept. Files are replaced as a whole, so that a crash leaves the last state that was true. */
export interface ProcessRecord {
  pid: number
  state: 'created' | 'running' | 'paused' | 'stopped'
  stdin: string
  stdout: string
  stderr: string
  terminal: boolean
  /** The shim has let go of the client's end of stdin. */
  stdinClosed: boolean
  /** Descriptor, of the shim, of the controlling side of the terminal. */
  master?: number
  exit?: { status: number; seconds: number; nanos: number }
  /** For the first process: the root filesystem is mounted by the shim. */
  mounted?: boolean
}

/** A record as it was found. */
export interface FoundRecord extends ProcessRecord {
  /** When it was last true, in milliseconds since 1970. */
  writtenAtMs: number
}

export function writeTaskRecord(bundle: string, record: ProcessRecord): void {
  write(join(bundle, 'task.json'), record)
}

export function writeExecRecord(bundle: string, execId: string, record: ProcessRecord): void {
  write(execPath(bundle, execId), record)
}

export function removeExecRecord(bundle: string, execId: string): void {
  rmSync(execPath(bundle, execId), { force: true })
}

/** The first process of a bundle; undefined when no shim got so far. */
export function readTaskRecord(bundle: string): FoundRecord | undefined {
  return read(join(bundle, 'task.json'))
}

/** Every other process, by its exec id. */
export function readExecRecords(bundle: string): Map<string, FoundRecord> {
  const records = new Map<string, FoundRecord>()
  for (const name of readdirSync(bundle)) {
    if (!name.endsWith(execSuffix) || name.startsWith('.')) continue
    const record = read(join(bundle, name))
    if (record !== undefined) records.set(basename(name, execSuffix), record)
  }
  return records
}

const execSuffix = '.exec.json'

function execPath(bundle: string, execId: string): string {
  return join(bundle, `${execId}${execSuffix}`)
}

function write(path: string, record: ProcessRecord): void {
  const temporary = path.replace(/[^/]+$/, (name) => `.${name}`)
  writeFileSync(temporary, JSON.stringify(record), { mode: 0o600 })
  renameSync(temporary, path)
}

function read(path: string): FoundRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
    return isRecord(value) ? { ...value, writtenAtMs: statSync(path).mtimeMs } : undefined
  } catch {
    return undefined
  }
}

const states: readonly unknown[] = ['created', 'running', 'paused', 'stopped']

function isRecord(value: unknown): value is ProcessRecord {
  if (typeof value !== 'object' || value === null) return false
  const { pid, state, stdin, stdout, stderr, terminal } = value as Record<string, unknown>
  return (
    Number.isSafeInteger(pid) &&
    states.includes(state) &&
    [stdin, stdout, stderr].every((path) => typeof path === 'string') &&
    typeof terminal === 'boolean'
  )
}

export function recordedExit({ status, at }: Exit): NonNullable<ProcessRecord['exit']> {
  return { status, seconds: at.seconds, nanos: at.nanos }
}

/** The exit of a record that has one. */
export function exitOf({ exit }: ProcessRecord): Exit | undefined {
  return exit === undefined ? undefined : { status: exit.status, at: { seconds: exit.seconds, nanos: exit.nanos } }
}
