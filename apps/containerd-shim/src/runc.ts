import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { NotFoundError, UnknownError } from '@containerd-ts/interface'
import { type Execution, execute, findExecutable, isErrno, type Reaper, spawn } from '@containerd-ts/linux'
import { deleteWithoutRunc, startWithoutRunc } from './runc-state.js'
import { type RuncOptions, runtimeOf } from './runtime-options.js'

export interface RuncDeps {
  reaper: Reaper
  programs: Programs
  namespace: string
  bundle: string
  options: RuncOptions
}

/** Standard streams for a process that the runtime starts. */
export type ChildStdio = readonly [number | null, number | null, number | null]

export interface CreateOptions {
  consoleSocket?: string
  stdio: ChildStdio
}

export interface CheckpointRun {
  imagePath: string
  workPath: string
  openTcp: boolean
  externalUnixSockets: boolean
  terminal: boolean
  fileLocks: boolean
  emptyNamespaces: readonly string[]
  leaveRunning: boolean
  /** For criu, beside the environment of the shim. */
  environment: Readonly<Record<string, string>>
}

export interface RestoreRun extends CreateOptions {
  imagePath: string
  workPath: string
  parentPath: string
  /** For criu, beside the environment of the shim. */
  environment: Readonly<Record<string, string>>
}

interface RunOptions {
  input?: Uint8Array
  environment?: Readonly<Record<string, string>>
}

/** Drives runc, or what takes the same command line, for one container. Every method fails with the runtime's own words. */
export interface Runc {
  create(id: string, options: CreateOptions): Promise<number>
  restore(id: string, run: RestoreRun): Promise<number>
  start(id: string): Promise<void>
  exec(id: string, execId: string, options: CreateOptions & { processFile: string }): Promise<number>
  kill(id: string, signal: number, all: boolean): Promise<void>
  /** @throws also when there is no such container, see {@link isGone}. */
  delete(id: string, force: boolean): Promise<void>
  pause(id: string): Promise<void>
  resume(id: string): Promise<void>
  pids(id: string): Promise<number[]>
  update(id: string, resources: Uint8Array): Promise<void>
  checkpoint(id: string, run: CheckpointRun): Promise<void>
}

/** Finds programs in PATH and remembers where they were: looking takes as long as half a spawn. */
export interface Programs {
  /** @throws SystemError ENOENT */
  find(name: string): string
  /** To be called when it could not be started after all. */
  forget(name: string): void
}

export function createPrograms(): Programs {
  const found = new Map<string, string>()
  return {
    find: (name) => {
      const known = found.get(name)
      if (known !== undefined) return known
      const path = findExecutable(name)
      found.set(name, path)
      return path
    },
    forget: (name) => found.delete(name),
  }
}

/** Where runc keeps its state. */
export function runcRoot(namespace: string, options: RuncOptions): string {
  return join(options.root === '' ? '/run/containerd/runc' : options.root, namespace)
}

export function createRunc({ reaper, programs, namespace, bundle, options }: RuncDeps): Runc {
  const binary = runtimeOf(options)
  const logPath = join(bundle, 'log.json')
  const root = runcRoot(namespace, options)
  const global = ['--root', root, '--log', logPath, '--log-format', 'json']
  if (options.systemdCgroup) global.push('--systemd-cgroup')
  const { NOTIFY_SOCKET: _, ...inherited } = process.env
  // A program in Go that runs for milliseconds: neither does its garbage matter, nor do more threads help.
  const env = { ...inherited, GOGC: 'off', GOMAXPROCS: '1' }
  const isRunc = basename(binary) === 'runc'

  /** Runs to the end and gives back what was printed. */
  const run = async (what: string, args: readonly string[], { input, environment }: RunOptions = {}): Promise<Execution> => {
    const before = sizeOf(logPath)
    let execution: Execution
    try {
      execution = await execute(reaper, programs.find(binary), {
        args: [...global, ...args],
        env: { ...env, ...environment },
        cwd: bundle,
        input,
      })
    } catch (error) {
      programs.forget(binary)
      throw failure(what, startProblem(error, binary, logPath))
    }
    if (execution.status !== 0)
      throw failure(what, problem(logPath, before, execution.status, execution.output.toString().trim()), execution)
    return execution
  }

  /**
   * Runs with the container's own standard streams, to which the runtime itself prints, too, so that its words are known only by its log.
   * With a terminal, it has streams of its own.
   */
  const runWith = async (
    what: string,
    args: readonly string[],
    { stdio, consoleSocket }: CreateOptions,
    environment?: RunOptions['environment'],
  ): Promise<void> => {
    if (consoleSocket !== undefined) {
      await run(what, args, { environment })
      return
    }
    const before = sizeOf(logPath)
    let status: number
    try {
      status = await reaper.wait(
        spawn(programs.find(binary), { args: [...global, ...args], env: { ...env, ...environment }, cwd: bundle, stdio }),
      )
    } catch (error) {
      programs.forget(binary)
      throw failure(what, startProblem(error, binary, logPath))
    }
    if (status === 0) return
    const logged = loggedProblem(logPath, before)
    throw new RuncError(`${what}: ${logged ?? endOf(status)}`, logged ?? '', logged !== undefined)
  }

  const createArgs = (consoleSocket: string | undefined): string[] => [
    ...(consoleSocket === undefined ? [] : ['--console-socket', consoleSocket]),
    ...(options.noPivotRoot ? ['--no-pivot'] : []),
  ]

  const initPid = join(bundle, 'init.pid')

  return {
    create: async (id, streams) => {
      const { consoleSocket } = streams
      const args = ['create', '--bundle', bundle, '--pid-file', initPid, ...createArgs(consoleSocket)]
      if (options.noNewKeyring) args.push('--no-new-keyring')
      const what = 'OCI runtime create failed'
      try {
        await runWith(what, [...args, id], streams)
      } catch (error) {
        if (!(error instanceof RuncError) || error.isLogged || consoleSocket !== undefined) throw error
        // It has failed without a word in its log: once more, to hear what it prints.
        await run(what, [...args, id])
        await run('failed to delete task', ['delete', '--force', id])
        throw error
      }
      return readPid(initPid)
    },
    restore: async (id, run_) => {
      const { consoleSocket, imagePath, workPath, parentPath, environment } = run_
      const args = ['restore', '--image-path', imagePath, '--work-path', workPath]
      if (parentPath !== '') args.push('--parent-path', parentPath)
      args.push('--detach', '--pid-file', initPid, ...createArgs(consoleSocket), '-no-subreaper', '--bundle', bundle, id)
      await runWith('OCI runtime restore failed', args, run_, environment)
      return readPid(initPid)
    },
    start: async (id) => {
      if (isRunc && (await startWithoutRunc(join(root, id)))) return
      await run('OCI runtime start failed', ['start', id])
    },
    exec: async (id, execId, { processFile, ...streams }) => {
      const pidFile = join(bundle, `${execId}.pid`)
      const args = ['exec', '--process', processFile]
      if (streams.consoleSocket !== undefined) args.push('--console-socket', streams.consoleSocket)
      await runWith('OCI runtime exec failed', [...args, '--detach', '--pid-file', pidFile, id], streams)
      return readPid(pidFile)
    },
    kill: async (id, signal, all) => {
      await run('OCI runtime kill failed', ['kill', ...(all ? ['--all'] : []), id, String(signal)])
    },
    delete: async (id, force) => {
      if (isRunc && !force && (await deleteWithoutRunc(join(root, id)))) return
      await run('failed to delete task', ['delete', ...(force ? ['--force'] : []), id])
    },
    pause: async (id) => {
      await run('OCI runtime pause failed', ['pause', id])
    },
    resume: async (id) => {
      await run('OCI runtime resume failed', ['resume', id])
    },
    pids: async (id) => {
      const { output } = await run('OCI runtime ps failed', ['ps', '--format', 'json', id])
      const pids: unknown = JSON.parse(output.toString() === '' ? '[]' : output.toString())
      return Array.isArray(pids) ? pids.filter((pid): pid is number => typeof pid === 'number') : []
    },
    update: async (id, resources) => {
      await run('OCI runtime update failed', ['update', '--resources=-', id], { input: resources })
    },
    checkpoint: async (id, run_) => {
      const args = ['checkpoint', '--image-path', run_.imagePath, '--work-path', run_.workPath]
      if (run_.openTcp) args.push('--tcp-established')
      if (run_.externalUnixSockets) args.push('--ext-unix-sk')
      if (run_.terminal) args.push('--shell-job')
      if (run_.fileLocks) args.push('--file-locks')
      for (const name of run_.emptyNamespaces) args.push('--empty-ns', name)
      if (run_.leaveRunning) args.push('--leave-running')
      await run('checkpoint failed', [...args, id], { environment: run_.environment })
    },
  }
}

/** A failed run of the runtime. `output` is what it printed, apart from what it logged. */
export class RuncError extends UnknownError {
  constructor(
    message: string,
    readonly output: string,
    /** Whether the message is from its log. */
    readonly isLogged = true,
  ) {
    super(message)
  }
}

function failure(what: string, why: string, execution?: Execution): RuncError {
  const output = execution?.output.toString().trim() ?? ''
  return new RuncError(`${what}: ${why}`, output === '' ? why : output)
}

/** What the runtime logged as an error since `from`; failing that, how it ended. */
function problem(logPath: string, from: number, status: number, output: string): string {
  const original = output === '' ? endOf(status) : `${endOf(status)}: ${output}`
  try {
    return errorIn(readFrom(logPath, from)) ?? original
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return unretrieved(isErrno(error, 'ENOENT') ? noLog(logPath) : why, original)
  }
}

function noLog(logPath: string): string {
  return `open ${logPath}: no such file or directory`
}

function loggedProblem(logPath: string, from: number): string | undefined {
  try {
    return errorIn(readFrom(logPath, from))
  } catch {
    return undefined
  }
}

/** The last error of a log. */
function errorIn(log: string): string | undefined {
  return log
    .split('\n')
    .map(errorOf)
    .findLast((message) => message !== undefined)
}

const signalNames: Readonly<Record<number, string>> = { 6: 'aborted', 9: 'killed', 11: 'segmentation fault', 15: 'terminated' }

function endOf(status: number): string {
  return status > 128 ? `signal: ${signalNames[status - 128] ?? status - 128}` : `exit status ${status}`
}

function unretrieved(why: string, original: string): string {
  return `unable to retrieve OCI runtime error (${why}): ${original}`
}

function startProblem(error: unknown, binary: string, logPath: string): string {
  const isPath = binary.includes('/')
  const what = isPath ? `fork/exec ${binary}` : `exec: ${JSON.stringify(binary)}`
  let why = error instanceof Error ? error.message : String(error)
  if (isErrno(error, 'ENOENT')) why = isPath ? 'no such file or directory' : 'executable file not found in $PATH'
  if (isErrno(error, 'EACCES')) why = 'permission denied'
  return unretrieved(noLog(logPath), `${what}: ${why}`)
}

function errorOf(line: string): string | undefined {
  if (line === '') return undefined
  try {
    const entry: unknown = JSON.parse(line)
    if (typeof entry !== 'object' || entry === null || !('level' in entry) || !('msg' in entry)) return undefined
    return entry.level === 'error' && typeof entry.msg === 'string' ? entry.msg.trim() : undefined
  } catch {
    return undefined
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function readFrom(path: string, from: number): string {
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(Math.max(0, fstatSync(fd).size - from))
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, from))
  } finally {
    closeSync(fd)
  }
}

/** Reads the pid that the runtime left. @throws UnknownError */
export function readPid(path: string): number {
  const pid = Number(readFileSync(path, 'utf8').trim())
  if (!Number.isSafeInteger(pid) || pid <= 0) throw new UnknownError(`"${path}" holds no pid`)
  return pid
}

/** True when the runtime says that it knows no such container. */
export function isGone(error: unknown): boolean {
  return error instanceof RuncError && /does not exist/i.test(`${error.message} ${error.output}`)
}

/** The error of a failed kill, in the words and class that clients expect. */
export function killError(error: unknown): unknown {
  if (isErrno(error, 'ESRCH')) return new NotFoundError('process already finished')
  if (!(error instanceof RuncError)) return error
  const text = `${error.message} ${error.output}`.toLowerCase()
  if (/os: process already finished|container not running|no such process/.test(text))
    return new NotFoundError('process already finished')
  if (text.includes('does not exist')) return new NotFoundError('no such container')
  return new UnknownError(`unknown error after kill: ${error.output === '' ? error.message : error.output}`)
}

/** What `runc features` prints; undefined for a runtime that has no such command. */
export async function runcFeatures(reaper: Reaper, options: RuncOptions): Promise<Buffer | undefined> {
  const { status, output } = await execute(reaper, runtimeOf(options), {
    args: ['features'],
  })
  return status === 0 ? output : undefined
}
