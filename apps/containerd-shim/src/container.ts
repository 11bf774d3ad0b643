import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Any, now, zeroTimestamp } from '@containerd-ts/api'
import { CheckpointOptions } from '@containerd-ts/api/containerd/runc/v1/options'
import { CreateTaskRequest } from '@containerd-ts/api/containerd/task/v3/task'
import { type Cgroup, cgroupOf, cgroupPids, cgroupStats, type OomWatch, sameCgroup, watchOom } from '@containerd-ts/cgroups'
import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  NotFoundError,
  UnknownError,
  validateIdentifier,
} from '@containerd-ts/interface'
import { isErrno, type Reaper, type WindowSize } from '@containerd-ts/linux'
import { checkpointError } from './checkpoint-error.js'
import { readStreamNames, streamNames, withCriuStreams, writeStreamNames } from './criu-streams.js'
import { ExecProcess, type ExecRequest } from './exec-process.js'
import { type Exit, type ExitTracker, type Expectation, unknownStatus } from './exit-tracker.js'
import type { Log } from './log.js'
import { createMutex } from './mutex.js'
import { adoptProcessIo, openProcessIo, type ProcessIo, resize, type StdioDeps } from './process-io.js'
import {
  exitOf,
  type FoundRecord,
  readExecRecords,
  recordedExit,
  removeExecRecord,
  writeExecRecord,
  writeTaskRecord,
} from './process-record.js'
import { mountRootfs, unmountRootfs } from './rootfs.js'
import { createRunc, isGone, killError, type Programs, type Runc, RuncError } from './runc.js'
import { decodeOptions, hasHostProcesses, type RuncOptions, readOptions, writeOptions } from './runtime-options.js'
import { sharesPidNamespace } from './spec.js'

export interface ContainerDeps {
  namespace: string
  reaper: Reaper
  programs: Programs
  exits: ExitTracker
  log: Log
  events: ContainerEvents
  /** Whether another shim may take over, for which what it must know is kept in the bundle. */
  keepRecords: boolean
}

/** Descriptors that somebody has kept of a process while its shim was gone; they are taken over. */
export interface KeptDescriptors {
  /** pidfd */
  process?: number
  /** Controlling side of the terminal. */
  master?: number
}

/** Gives out what was kept of a process; without a pidfd it is gone. */
export type Kept = (record: FoundRecord) => KeptDescriptors

/** What a container tells of itself, in the order in which it happens. */
export interface ContainerEvents {
  created(container: Container): void
  started(container: Container): void
  execStarted(container: Container, exec: ExecProcess): void
  execExited(container: Container, exec: ExecProcess): void
  exited(container: Container): void
  oom(container: Container): void
  paused(container: Container): void
  resumed(container: Container): void
  deleted(container: Container): void
}

export type ContainerState = 'created' | 'running' | 'paused' | 'stopped' | 'deleted'

const SIGKILL = 9
const PF_EXITING = 4

/**
 * A container and its first process.
 *
 * Created → running ⇄ paused → stopped → deleted, where each may also go from created straight to stopped. What changes the state
 * runs one after the other; exits come at any time and are held back while a start is under way, so that its event comes first.
 */
export class Container {
  readonly id: string
  readonly bundle: string
  readonly request: CreateTaskRequest
  pid = 0
  exit: Exit = { status: 0, at: zeroTimestamp }
  /** Settles when the first process has exited. */
  readonly done: Promise<void>
  readonly execs = new Map<string, ExecProcess>()
  readonly #deps: ContainerDeps
  readonly #options: RuncOptions
  readonly #runc: Runc
  readonly #lock = createMutex()
  #state: ContainerState = 'created'
  #io: ProcessIo | undefined
  #cgroup: Cgroup | undefined
  #oom: OomWatch | undefined
  #mounted = false
  #stdinClosed = false
  #starting = false
  #heldExit: Exit | undefined
  #initExited = false
  #livingExecs = 0
  #execsGone: (() => void) | undefined
  #settle = () => {}

  private constructor(request: CreateTaskRequest, options: RuncOptions, deps: ContainerDeps) {
    this.id = request.id
    this.bundle = request.bundle
    this.request = request
    this.#deps = deps
    this.#options = options
    this.#runc = createRunc({
      reaper: deps.reaper,
      programs: deps.programs,
      namespace: deps.namespace,
      bundle: request.bundle,
      options,
    })
    this.done = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /** Mounts the root filesystem and has the runtime create the container. Leaves nothing behind when it fails. */
  static async create(request: CreateTaskRequest, deps: ContainerDeps): Promise<Container> {
    validateIdentifier(request.id, 'container id')
    const options = decodeOptions(request.options)
    const container = new Container(request, options, deps)
    const expectation = deps.exits.expect()
    try {
      await container.#create(expectation)
      return container
    } finally {
      expectation.end()
    }
  }

  async #create(expectation: Expectation): Promise<void> {
    const { request, bundle } = this
    writeOptions(bundle, this.#options)
    try {
      if (request.rootfs.length > 0) {
        await mountRootfs(bundle, request.rootfs)
        this.#mounted = true
      }
      if (!this.#isRestore) {
        this.#io = await openProcessIo(request, this.#stdioDeps)
        this.pid = await this.#io.run((stdio) => this.#runc.create(this.id, stdio))
      }
    } catch (error) {
      await this.#io?.close()
      // The runtime cleans up after its own failures, not after ours.
      if (this.#io !== undefined && !(error instanceof RuncError)) await this.#runc.delete(this.id, true).catch(() => {})
      await this.#unmount('debug')
      throw error
    }
    this.#deps.events.created(this)
    if (this.pid > 0) this.#follow(expectation)
  }

  /** Goes on with a container whose shim is gone. */
  static adopt(bundle: string, id: string, record: FoundRecord, kept: Kept, deps: ContainerDeps): Container {
    const { stdin, stdout, stderr, terminal } = record
    const request = CreateTaskRequest.fromPartial({ id, bundle, stdin, stdout, stderr, terminal })
    const container = new Container(request, readOptions(bundle), deps)
    container.#adopt(record, kept)
    return container
  }

  #adopt(record: FoundRecord, kept: Kept): void {
    this.pid = record.pid
    this.#mounted = record.mounted === true
    this.#stdinClosed = record.stdinClosed
    this.#state = record.state
    const exit = exitOf(record)
    const { process, master } = exit === undefined ? kept(record) : {}
    if (exit !== undefined) {
      this.exit = exit
      this.#initExited = true
      this.#settle()
    } else {
      this.#io = adoptProcessIo(record, master)
      if (process !== undefined) this.#watchMemory()
    }
    for (const [id, exec] of readExecRecords(this.bundle)) {
      const { process, master } = exec.exit === undefined ? kept(exec) : {}
      this.#newExec({ ...exec, id, spec: undefined }).adopt(exec, process, master)
    }
    if (exit !== undefined) return
    if (process === undefined) this.#onExit({ status: unknownStatus, at: now() })
    else this.#deps.exits.adopt(this.pid, process, (exited) => this.#onExit(exited))
  }

  #record(): void {
    if (!this.#deps.keepRecords || this.#state === 'deleted') return
    const { stdin, stdout, stderr, terminal } = this.request
    const master = this.#io?.terminal?.master
    const record = {
      pid: this.pid,
      state: this.#state,
      ...{ stdin, stdout, stderr, terminal, stdinClosed: this.#stdinClosed, mounted: this.#mounted },
      ...(this.#state === 'stopped' ? { exit: recordedExit(this.exit) } : {}),
      ...(master === undefined ? {} : { master }),
    }
    this.#keep(() => writeTaskRecord(this.bundle, record))
  }

  /** Nothing may fail because the next shim would know less, for instance on a full disk. */
  #keep(write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#deps.log('warning', 'failed to keep a record for the next shim', { id: this.id, error })
    }
  }

  get #isRestore(): boolean {
    return this.request.checkpoint !== ''
  }

  get #stdioDeps(): StdioDeps {
    const { reaper, namespace } = this.#deps
    return { reaper, namespace, containerId: this.id, ioUid: this.#options.ioUid, ioGid: this.#options.ioGid }
  }

  #watchMemory(): void {
    this.#cgroup = ownCgroup(this.pid)
    if (this.#cgroup !== undefined) this.#oom = watchOom(this.#cgroup, () => this.#deps.events.oom(this))
  }

  #follow(expectation: Expectation): void {
    this.#watchMemory()
    this.#record()
    expectation.track(this.pid, (exit) => this.#onExit(exit))
  }

  get state(): ContainerState {
    return this.#state
  }

  start(): Promise<number> {
    return this.#lock(async () => {
      if (this.#state !== 'created') throw new UnknownError(`cannot start a ${this.#state} process`)
      this.#starting = true
      try {
        if (this.#isRestore) await this.#restore()
        else await this.#runc.start(this.id)
        this.#state = 'running'
        this.#record()
        this.#deps.events.started(this)
      } finally {
        this.#starting = false
        const held = this.#heldExit
        this.#heldExit = undefined
        if (held !== undefined) this.#onExit(held)
      }
      return this.pid
    })
  }

  async #restore(): Promise<void> {
    const { request, bundle } = this
    const expectation = this.#deps.exits.expect()
    const workPath = this.#options.criuWorkPath === '' ? join(bundle, 'criu-work') : this.#options.criuWorkPath
    mkdirSync(workPath, { recursive: true })
    const paths = { imagePath: request.checkpoint, workPath, parentPath: request.parentCheckpoint }
    try {
      const names = readStreamNames(request)
      const io = await openProcessIo(request, this.#stdioDeps)
      this.#io = io
      this.pid = await withCriuStreams(bundle, 'restore', names, (environment) =>
        io.run((stdio) => this.#runc.restore(this.id, { ...stdio, ...paths, environment })),
      )
      this.#follow(expectation)
    } catch (error) {
      await this.#io?.close()
      this.#io = undefined
      throw error
    } finally {
      expectation.end()
      if (this.#options.criuWorkPath === '') rmSync(workPath, { recursive: true, force: true })
    }
  }

  #onExit(exit: Exit): void {
    if (this.#starting) {
      this.#heldExit = exit
      return
    }
    this.#initExited = true
    this.#io?.exited()
    const shared = sharesPidNamespace(this.bundle)
    if (!shared && this.#livingExecs === 0) this.#finishExit(exit)
    else void this.#endOthers(shared).then(() => this.#finishExit(exit))
  }

  /** Its exit is the last one of a container, so every other process goes first. */
  async #endOthers(shared: boolean): Promise<void> {
    if (shared) {
      try {
        await this.#runc.kill(this.id, SIGKILL, true)
      } catch (error) {
        if (!isGone(error)) this.#deps.log('debug', 'failed to kill the other processes of the container', { id: this.id, error })
      }
    }
    if (this.#livingExecs > 0) {
      await new Promise<void>((resolve) => {
        this.#execsGone = resolve
      })
    }
  }

  #finishExit(exit: Exit): void {
    const wasPaused = this.#state === 'paused'
    this.#oom?.close()
    this.#oom = undefined
    this.exit = exit
    if (this.#state !== 'deleted') this.#state = 'stopped'
    this.#record()
    this.#deps.events.exited(this)
    this.#settle()
    if (wasPaused) void this.#thaw()
  }

  /** A process by its exec id; empty for the first one. @throws NotFoundError */
  exec(execId: string): ExecProcess {
    const exec = this.execs.get(execId)
    if (exec === undefined) throw new NotFoundError(`process does not exist ${execId}`)
    return exec
  }

  addExec(request: ExecRequest): void {
    if (this.#state !== 'running' && this.#state !== 'created') throw new UnknownError(`cannot exec in a ${this.#state} state`)
    if (this.#state === 'created' && this.#isRestore) throw new UnknownError('cannot exec in a created state')
    if (request.id === '') throw new InvalidArgumentError('exec id cannot be empty')
    validateIdentifier(request.id, 'exec id')
    if (this.execs.has(request.id)) throw new AlreadyExistsError(`id ${request.id}`)
    this.#newExec(request)
  }

  #newExec(request: ExecRequest): ExecProcess {
    const { exits, events, keepRecords } = this.#deps
    const exec: ExecProcess = new ExecProcess(request, {
      containerId: this.id,
      bundle: this.bundle,
      runc: this.#runc,
      exits,
      stdio: this.#stdioDeps,
      checkAlive: () => {
        if (this.#initExited || isEnding(this.pid))
          throw new FailedPreconditionError(`container ${this.id} init process is not running`)
      },
      enter: () => {
        this.#livingExecs++
      },
      leave: () => {
        this.#livingExecs--
        if (this.#livingExecs === 0) this.#execsGone?.()
      },
      onStarted: () => events.execStarted(this, exec),
      onExited: () => events.execExited(this, exec),
      record: (record) => {
        if (!keepRecords) return
        if (record === undefined) removeExecRecord(this.bundle, request.id)
        else this.#keep(() => writeExecRecord(this.bundle, request.id, record))
      },
    })
    this.execs.set(request.id, exec)
    return exec
  }

  async deleteExec(execId: string): Promise<ExecProcess> {
    const exec = this.exec(execId)
    await exec.delete()
    this.execs.delete(execId)
    return exec
  }

  kill(signal: number, all: boolean): Promise<void> {
    return this.#lock(async () => {
      if (this.#state === 'deleted') throw new NotFoundError('cannot kill a deleted process')
      if (this.#state === 'stopped') throw new NotFoundError('process already finished')
      try {
        // The exit of the process has not been collected, so the pid is still its own. A frozen one has to be thawed by the runtime.
        if (!all && this.#state !== 'paused' && this.pid > 0 && hasHostProcesses(this.#options)) process.kill(this.pid, signal)
        else await this.#runc.kill(this.id, signal, all)
      } catch (error) {
        throw killError(error)
      }
      if (signal === SIGKILL && this.state === 'paused') await this.#thaw()
    })
  }

  /** What is frozen does not die, at least with control groups of version 1. */
  async #thaw(): Promise<void> {
    try {
      await this.#runc.resume(this.id)
    } catch (error) {
      // runc has done so by itself.
      this.#deps.log('debug', 'failed to resume a killed container', { id: this.id, error })
    }
  }

  pause(): Promise<void> {
    return this.#lock(async () => {
      if (this.#state === 'created') throw new UnknownError('cannot pause task in created state')
      if (this.#state === 'deleted') throw new UnknownError('cannot pause a deleted process')
      if (this.#state !== 'running') throw new UnknownError(`cannot pause a ${this.#state} container`)
      await this.#runc.pause(this.id)
      // It may have exited meanwhile.
      if (this.state === 'running') this.#state = 'paused'
      this.#record()
      this.#deps.events.paused(this)
    })
  }

  resume(): Promise<void> {
    return this.#lock(async () => {
      if (this.#state === 'created') throw new UnknownError('cannot resume task in created state')
      if (this.#state === 'running') throw new UnknownError('cannot resume a running process')
      if (this.#state === 'deleted') throw new UnknownError('cannot resume a deleted process')
      if (this.#state !== 'paused') throw new UnknownError(`cannot resume a ${this.#state} container`)
      await this.#runc.resume(this.id)
      if (this.state === 'paused') this.#state = 'running'
      this.#record()
      this.#deps.events.resumed(this)
    })
  }

  resize(size: WindowSize): void {
    if (this.#io !== undefined && this.#state !== 'stopped' && this.#state !== 'deleted') resize(this.#io, size)
  }

  closeStdin(): void {
    this.#io?.closeStdin()
    this.#stdinClosed = true
    if (this.pid > 0) this.#record()
  }

  async pids(): Promise<number[]> {
    if (this.#cgroup !== undefined) return cgroupPids(this.#cgroup)
    return this.#state === 'stopped' || this.pid === 0 ? [] : this.#runc.pids(this.id)
  }

  update(resources: Any | undefined): Promise<void> {
    return this.#lock(async () => {
      if (this.#state === 'stopped') throw new UnknownError('cannot update a stopped container')
      if (this.#state === 'deleted') throw new UnknownError('cannot update a deleted process')
      await this.#runc.update(this.id, resources?.value ?? new Uint8Array(0))
    })
  }

  async stats(): Promise<Any> {
    if (this.#cgroup === undefined) throw new NotFoundError('cgroup does not exist')
    try {
      return cgroupStats(this.#cgroup)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) throw new NotFoundError('cgroup does not exist', { cause: error })
      throw error
    }
  }

  checkpoint(path: string, options: Any | undefined): Promise<void> {
    return this.#lock(async () => {
      if (this.#state === 'created') throw new UnknownError('cannot checkpoint a task in created state')
      if (this.#state === 'deleted') throw new UnknownError('cannot checkpoint a deleted process')
      if (this.#state === 'stopped') throw new UnknownError('cannot checkpoint a stopped container')
      const wanted = options === undefined ? CheckpointOptions.fromPartial({}) : CheckpointOptions.decode(options.value)
      const ownWork = wanted.workPath === ''
      const workPath = ownWork ? mkdtempSync(join(tmpdir(), 'criu-work-')) : wanted.workPath
      try {
        const names = streamNames(this.request)
        await withCriuStreams(this.bundle, 'dump', names, (environment) =>
          this.#runc.checkpoint(this.id, {
            imagePath: path,
            workPath,
            openTcp: wanted.openTcp,
            externalUnixSockets: wanted.externalUnixSockets,
            terminal: wanted.terminal,
            fileLocks: wanted.fileLocks,
            emptyNamespaces: wanted.emptyNamespaces,
            leaveRunning: !wanted.exit,
            environment,
          }),
        )
        writeStreamNames(path, names)
      } catch (error) {
        throw checkpointError(error, workPath, this.bundle)
      } finally {
        if (ownWork) rmSync(workPath, { recursive: true, force: true })
      }
    })
  }

  delete(): Promise<void> {
    return this.#lock(async () => {
      if (this.#state === 'deleted') throw new NotFoundError('cannot delete a deleted process')
      if (this.#state === 'running' || this.#state === 'paused') throw new UnknownError(`cannot delete a ${this.#state} process`)
      if (this.#state === 'created' && this.pid > 0) await this.#endCreated()
      await this.#io?.finish()
      try {
        await this.#runc.delete(this.id, false)
      } catch (error) {
        if (!isGone(error)) throw error
      }
      for (const exec of this.execs.values()) await exec.delete().catch(() => {})
      await this.#unmount('error')
      this.#state = 'deleted'
      // One that was never started, as a restore, has no exit to wait for.
      this.#settle()
      this.#deps.events.deleted(this)
    })
  }

  // The runtime would poll for the end of its init; this way the exit is seen as soon as it happens, and before the delete event.
  async #endCreated(): Promise<void> {
    try {
      if (hasHostProcesses(this.#options)) process.kill(this.pid, 'SIGKILL')
      else await this.#runc.kill(this.id, SIGKILL, false)
    } catch (error) {
      this.#deps.log('debug', 'failed to kill a created container', { id: this.id, error })
      return
    }
    await this.done
  }

  async #unmount(severity: 'debug' | 'error'): Promise<void> {
    if (!this.#mounted) return
    try {
      await unmountRootfs(this.bundle)
      this.#mounted = false
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      if (severity === 'error') throw new UnknownError(`failed rootfs umount: ${why}`, { cause })
      this.#deps.log(severity, 'failed rootfs umount', { id: this.id, error: why })
    }
  }
}

/**
 * True for a process that is on its way out. The first one of a pid namespace ends only after all others, so what fails because of its
 * end fails before its exit can be collected.
 */
function isEnding(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state, , , , , , flags] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return state === 'Z' || state === 'X' || (Number(flags) & PF_EXITING) !== 0
  } catch {
    return true
  }
}

/** The cgroup of a container's process; undefined when it has none of its own, as with a runtime that may not make one. */
function ownCgroup(pid: number): Cgroup | undefined {
  const cgroup = cgroupOf(pid)
  const ours = cgroupOf(process.pid)
  return cgroup !== undefined && ours !== undefined && sameCgroup(cgroup, ours) ? undefined : cgroup
}
