import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Any, now, zeroTimestamp } from '@containerd-ts/api'
import { FailedPreconditionError, InvalidArgumentError, NotFoundError, UnknownError } from '@containerd-ts/interface'
import { type Exit, type ExitTracker, type Expectation, unknownStatus } from './exit-tracker.js'
import { createMutex } from './mutex.js'
import { adoptProcessIo, openProcessIo, type ProcessIo, resize, type StdioDeps } from './process-io.js'
import { exitOf, type ProcessRecord, recordedExit } from './process-record.js'
import type { Runc } from './runc.js'

export interface ExecRequest {
  id: string
  spec: Any | undefined
  terminal: boolean
  stdin: string
  stdout: string
  stderr: string
}

/** What an additional process needs of its container. */
export interface ExecDeps {
  containerId: string
  bundle: string
  runc: Runc
  exits: ExitTracker
  stdio: StdioDeps
  /** @throws FailedPreconditionError once the first process of the container has exited. */
  checkAlive(): void
  /** Announces the process to its container. */
  enter(): void
  /** Takes the announcement back. */
  leave(): void
  onStarted(pid: number): void
  onExited(exit: Exit): void
  /** Keeps what the next shim has to know; undefined when the process is deleted. */
  record(record: ProcessRecord | undefined): void
}

export type ExecState = 'created' | 'running' | 'stopped' | 'deleted'

/** A process that is run in a container besides its first one. Created → running → stopped → deleted. */
export class ExecProcess {
  readonly id: string
  readonly request: ExecRequest
  pid = 0
  exit: Exit = { status: 0, at: zeroTimestamp }
  /** Settles when the process has exited, or has failed to start. */
  readonly done: Promise<void>
  #state: ExecState = 'created'
  readonly #deps: ExecDeps
  readonly #lock = createMutex()
  #io: ProcessIo | undefined
  #stdinClosed = false
  #size: { columns: number; rows: number } | undefined
  #settle = () => {}

  constructor(request: ExecRequest, deps: ExecDeps) {
    this.id = request.id
    this.request = request
    this.#deps = deps
    this.done = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /** Goes on with a process that another shim, which is gone, has started. */
  adopt(record: ProcessRecord, processFd: number | undefined, master: number | undefined): void {
    this.pid = record.pid
    const exit = exitOf(record)
    this.#stdinClosed = record.stdinClosed
    if (exit !== undefined) {
      this.#state = 'stopped'
      this.exit = exit
      this.#settle()
      return
    }
    this.#state = 'running'
    this.#deps.enter()
    this.#io = adoptProcessIo(record, master)
    if (processFd === undefined) this.#exited({ status: unknownStatus, at: now() })
    else this.#deps.exits.adopt(this.pid, processFd, (exited) => this.#exited(exited))
  }

  #record(): void {
    const { stdin, stdout, stderr, terminal } = this.request
    const state = this.#state === 'stopped' ? 'stopped' : 'running'
    const exit = state === 'stopped' ? { exit: recordedExit(this.exit) } : {}
    const master = this.#io?.terminal?.master
    this.#deps.record({
      pid: this.pid,
      state,
      ...{ stdin, stdout, stderr, terminal, stdinClosed: this.#stdinClosed },
      ...exit,
      ...(master === undefined ? {} : { master }),
    })
  }

  get state(): ExecState {
    return this.#state
  }

  start(): Promise<number> {
    return this.#lock(async () => {
      if (this.#state !== 'created') throw new UnknownError(`cannot start a ${this.#state} process`)
      this.#deps.checkAlive()
      this.#deps.enter()
      const expectation = this.#deps.exits.expect()
      try {
        await this.#run(expectation)
        return this.pid
      } catch (error) {
        this.#deps.leave()
        await this.#io?.close()
        this.#io = undefined
        // Whoever waits for it must not wait for ever; it can be deleted at once.
        this.#settle()
        // The runtime's words on a container that has just ended are less clear.
        this.#deps.checkAlive()
        throw error
      } finally {
        expectation.end()
      }
    })
  }

  async #run(expectation: Expectation): Promise<void> {
    const { bundle, containerId, runc, stdio } = this.#deps
    const processFile = join(bundle, `${this.id}.process.json`)
    writeFileSync(processFile, processJson(this.request), { mode: 0o600 })
    try {
      this.#io = await openProcessIo(this.request, stdio)
      if (this.#size !== undefined) resize(this.#io, this.#size)
      const io = this.#io
      this.pid = await io.run((options) => runc.exec(containerId, this.id, { ...options, processFile }))
    } finally {
      rmSync(processFile, { force: true })
    }
    this.#state = 'running'
    this.#record()
    this.#deps.onStarted(this.pid)
    expectation.track(this.pid, (exit) => this.#exited(exit))
  }

  #exited(exit: Exit): void {
    this.#state = 'stopped'
    this.exit = exit
    this.#io?.exited()
    this.#record()
    this.#settle()
    this.#deps.onExited(exit)
    this.#deps.leave()
  }

  kill(signal: number): void {
    if (this.#state === 'created') throw new FailedPreconditionError('process not created')
    if (this.#state !== 'running') throw new NotFoundError('process already finished')
    // Its exit has not been collected, so the pid is still its own.
    process.kill(this.pid, signal)
  }

  resize(columns: number, rows: number): void {
    if (this.#state === 'stopped') throw new UnknownError('cannot resize a stopped container')
    if (this.#state === 'deleted') throw new UnknownError('cannot resize a deleted container')
    this.#size = { columns, rows }
    if (this.#io !== undefined) resize(this.#io, this.#size)
  }

  closeStdin(): void {
    this.#io?.closeStdin()
    this.#stdinClosed = true
    if (this.#state === 'running') this.#record()
  }

  delete(): Promise<void> {
    return this.#lock(async () => {
      if (this.#state === 'running') throw new UnknownError('cannot delete a running process')
      if (this.#state === 'deleted') throw new NotFoundError('cannot delete a deleted process')
      await this.#io?.finish()
      rmSync(join(this.#deps.bundle, `${this.id}.pid`), { force: true })
      this.#deps.record(undefined)
      this.#state = 'deleted'
      this.#settle()
    })
  }
}

/** The process of the request, with its word on the terminal. */
function processJson({ spec, terminal }: ExecRequest): string {
  const text = Buffer.from(spec?.value ?? new Uint8Array(0)).toString()
  let process: unknown
  try {
    process = JSON.parse(text)
  } catch (cause) {
    throw new InvalidArgumentError('the spec of an exec must be an OCI process in JSON', { cause })
  }
  if (typeof process !== 'object' || process === null)
    throw new InvalidArgumentError('the spec of an exec must be an OCI process')
  return JSON.stringify({ ...process, terminal })
}
