import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Any, now, packAny, zeroTimestamp } from '@containerd-ts/api'
import { TaskDelete, TaskExit as TaskExitEvent } from '@containerd-ts/api/containerd/events/task'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import type { StateResponse } from '@containerd-ts/api/containerd/task/v3/task'
import { RuntimeInfo } from '@containerd-ts/api/containerd/types/runtime_info'
import { Status } from '@containerd-ts/api/containerd/v1/types/task'
import {
  AlreadyExistsError,
  background,
  ContainerdError,
  type Context,
  type CreateTask,
  type DebugSource,
  type EventExchange,
  type ExecTask,
  errorCode,
  InvalidArgumentError,
  isNotFound,
  isUnimplemented,
  NotFoundError,
  requireNamespace,
  type TaskExit,
  type TaskMonitor,
  type TaskRuntime,
  type TaskState,
  type TaskStatus,
  UnavailableError,
  UnknownError,
} from '@containerd-ts/interface'
import { closeAll } from '@containerd-ts/linux'
import type { Logger } from '@containerd-ts/plugin'
import { isTtrpcClosed } from '@containerd-ts/ttrpc'
import {
  type Bundle,
  type BundleRoots,
  createBundle,
  deleteBundle,
  listBundles,
  loadShim,
  logPath,
  storeShim,
  wantsMappedMounts,
} from './bundle.js'
import type { ShimScope } from './config.js'
import { createKeptDescriptors, type Handover, type KeptDescriptors, type Takeover, tryOpenProcess } from './kept-descriptors.js'
import type { ShimLimits } from './limits.js'
import { createProcessTable, type ProcessTable } from './process-table.js'
import { ownShimName, type ShimBinary } from './shim-binary.js'
import type { ShimCommands } from './shim-command.js'
import { openShimLog, type ShimLog } from './shim-log.js'
import { createShimPool, type Shim, type ShimPool, type ShimTasks } from './shim-pool.js'
import { createShimUse, type ShimUse } from './shim-use.js'
import { followEvents } from './task-events.js'
import { isThere, watchProcesses } from './vanished-processes.js'

export interface RuntimeDeps {
  roots: BundleRoots
  events: Pick<EventExchange, 'publish' | 'subscribe'>
  monitors: readonly TaskMonitor[]
  log: Logger
  commands: ShimCommands
  limits: ShimLimits
  findShim: (runtime: string) => ShimBinary
  scope: ShimScope
  idleMs: number
  /** How often processes are looked for whose exit no event told. */
  lookEveryMs: number
}

/** The runtime as the plugin gives it out, with what the daemon's life asks for. */
export interface LinuxRuntime extends TaskRuntime, DebugSource {
  /**
   * Finds the tasks again that an earlier life of the daemon left running; clears away those that did not survive. Calls about a task
   * wait until it is found, at most as long as its shim is given to answer. Never fails.
   */
  recover(): Promise<void>
  /** Leaves all tasks running. */
  close(): Promise<void>
}

interface Task {
  readonly bundle: Bundle
  readonly binary: ShimBinary
  readonly shimLog: ShimLog
  readonly processes: ProcessTable
  readonly kept: KeptDescriptors
  /** Processes that are registered and not started, which the shim keeps nowhere. */
  readonly pending: Map<string, ExecTask>
  shim: Shim
  /** While its shim is dead and another takes over. */
  reviving: Promise<void> | undefined
}

// Bundles that are looked at at the same time after a start. One that waits for its shim holds its place.
const recoveriesAtOnce = 64
// How long a list waits for tasks that are not found yet.
const listPatienceMs = 250
// Shims at one address that die more often than that within the time have no hope.
const maxRevivals = 5
const revivalsForgottenAfterMs = 60_000
// By then, the shim that took over has told of what had ended when it came.
const lookAfterMs = 2000

export function createRuntime(deps: RuntimeDeps): LinuxRuntime {
  return new Runtime(deps)
}

class Runtime implements LinuxRuntime {
  readonly #deps: RuntimeDeps
  readonly #tasks = new Map<string, Task>()
  /** Of tasks and of those that are being created, as their exits may come before the answer. */
  readonly #tables = new Map<string, ProcessTable>()
  readonly #creating = new Set<string>()
  readonly #recovering = new Map<string, Promise<void>>()
  /** Of tasks that are out of the books, while their bundle is still there. */
  readonly #clearing = new Map<string, Promise<unknown>>()
  readonly #watched = new WeakSet<Shim>()
  readonly #greetings = new WeakMap<Shim, Promise<void>>()
  readonly #revivals = new Map<string, number>()
  readonly #pool: ShimPool
  readonly #use: ShimUse
  readonly #stop = new AbortController()
  #closing = false

  constructor(deps: RuntimeDeps) {
    this.#deps = deps
    this.#pool = createShimPool(deps.limits.load)
    this.#use = createShimUse(deps.idleMs, (shim) => this.#shutdown(shim))
    followEvents(deps.events, (namespace, id) => this.#tables.get(keyOf(namespace, id)), deps.log, this.#stop.signal)
    watchProcesses({
      everyMs: deps.lookEveryMs,
      signal: this.#stop.signal,
      tasks: () => this.#tasks.values(),
      lost: (task, execId) => this.#lookAgain(task, execId),
    })
  }

  async create(ctx: Context, task: CreateTask): Promise<number> {
    const namespace = requireNamespace(ctx)
    const key = keyOf(namespace, task.containerId)
    await this.#recovering.get(key)
    await this.#clearing.get(key)
    if (this.#tasks.has(key) || this.#creating.has(key)) throw new AlreadyExistsError(`task ${task.containerId}`)
    this.#creating.add(key)
    try {
      return await this.#create(ctx, namespace, key, task)
    } finally {
      this.#creating.delete(key)
    }
  }

  async #create(ctx: Context, namespace: string, key: string, task: CreateTask): Promise<number> {
    const binary = this.#deps.findShim(task.runtime)
    if (task.spec !== undefined && wantsMappedMounts(task.spec)) await this.#requireMappedMounts(binary, task)
    const bundle = createBundle(this.#deps.roots, namespace, task.containerId, task.spec)
    const shimLog = openShimLog(logPath(bundle), this.#deps.log)
    const kept = createKeptDescriptors()
    const processes = createProcessTable(task.containerId, kept.release)
    processes.add('', task)
    this.#tables.set(key, processes)
    let shim: Shim | undefined
    try {
      shim = await this.#shimFor(binary, bundle, task.options)
      storeShim(bundle, binary.path, shim.bootstrap)
      const pid = await this.#createIn(shim, bundle, task)
      processes.created('', pid)
      const entry: Task = {
        bundle,
        shim,
        binary,
        shimLog,
        processes,
        kept,
        pending: new Map(),
        reviving: undefined,
      }
      this.#tasks.set(key, entry)
      this.#keep(entry, '')
      this.#monitor(entry, task.runtime)
      // Its death went unnoticed as long as the task was not in the books.
      if (shim.isClosed) this.#onShimGone(shim)
      return pid
    } catch (error) {
      this.#tables.delete(key)
      await this.#discard(ctx, binary, bundle, shim)
      shimLog.close()
      throw error
    }
  }

  /** Keeps what a living process must not lose with its shim. */
  #keep({ bundle, binary, kept, processes, shim }: Task, execId: string): void {
    const state = processes.state(execId)
    if (binary.own && state !== undefined && state.status !== 'stopped') kept.keep(bundle, execId, state, shim.pid)
  }

  async #createIn(shim: Shim, bundle: Bundle, task: CreateTask): Promise<number> {
    const request = {
      id: task.containerId,
      bundle: bundle.path,
      rootfs: [...task.rootfs],
      terminal: task.terminal,
      stdin: task.stdin,
      stdout: task.stdout,
      stderr: task.stderr,
      checkpoint: task.checkpointPath,
      options: task.options,
    }
    const options = { timeoutMs: this.#deps.limits.operation }
    try {
      try {
        return (await shim.tasks.create(request, options)).pid
      } catch (error) {
        if (!isUnimplemented(error) || shim.bootstrap.version !== 3) throw error
        shim.downgrade()
        return (await shim.tasks.create(request, options)).pid
      }
    } catch (error) {
      throw wrapped('failed to create shim task', error)
    }
  }

  /** A shim for the bundle, one that serves the whole namespace where that is possible. Counts as its use. */
  async #shimFor(binary: ShimBinary, bundle: Bundle, options: Any | undefined, takeover?: Takeover): Promise<Shim> {
    const scope = takeover === undefined ? this.#scopeFor(options) : this.#scopeAt(binary, bundle.namespace, takeover.address)
    const start = async () => {
      try {
        const bootstrap = await this.#deps.commands.start(binary, bundle, options, scope, takeover)
        const shim = this.#watch(await this.#pool.connect(bundle.namespace, bootstrap))
        if (binary.own) await this.#greet(shim, bundle.id)
        return shim
      } catch (error) {
        throw wrapped('failed to start shim', error)
      }
    }
    if (binary.own && scope === 'namespace') return this.#use.resident(bundle.namespace, start)
    return this.#use.enter(await start())
  }

  #scopeFor(options: Any | undefined): ShimScope {
    // A shim in a cgroup of the container's choice serves that container only.
    return this.#deps.scope === 'namespace' && wantsShimCgroup(options) ? 'sandbox' : this.#deps.scope
  }

  /** What a shim at an address is for, which need not be as it is configured now. */
  #scopeAt(binary: ShimBinary, namespace: string, address: string): ShimScope {
    if (address === this.#deps.commands.residentAddress(binary, namespace)) return 'namespace'
    return this.#deps.scope === 'namespace' ? 'sandbox' : this.#deps.scope
  }

  /** Undoes a create that failed; nobody has heard of the task, and nobody shall. */
  async #discard(ctx: Context, binary: ShimBinary, bundle: Bundle, shim: Shim | undefined): Promise<void> {
    try {
      if (shim === undefined) {
        // The shim may have started and died, or be there without an answer.
        if (!binary.own) await this.#deps.commands.delete(binary, bundle).catch(() => {})
      } else if (!shim.isClosed) {
        // It is there only when what failed came after its creation.
        await this.#removeFrom(shim, bundle)
      } else {
        await this.#use.leave(shim)
        // The next shim may have found it; what it does not know, nobody does.
        const takeover = { address: shim.address, handover: [] }
        const next = binary.own ? await this.#shimFor(binary, bundle, undefined, takeover).catch(() => undefined) : undefined
        if (next !== undefined) await this.#removeFrom(next, bundle)
        await this.#deps.commands.delete(binary, bundle).catch(() => {})
      }
      await deleteBundle(bundle)
    } catch (error) {
      ctx.log.warn('failed to clean up after a failed create', { id: bundle.id, namespace: bundle.namespace, error })
    }
  }

  async #removeFrom(shim: Shim, bundle: Bundle): Promise<void> {
    const { shutdown } = this.#deps.limits
    await shim.tasks.delete({ id: bundle.id, execId: '' }, { timeoutMs: shutdown }).catch(() => {})
    await this.#use.leave(shim)
  }

  async #requireMappedMounts(binary: ShimBinary, task: CreateTask): Promise<void> {
    const info = RuntimeInfo.decode(await this.#deps.commands.info(binary, task.options))
    const features: unknown = JSON.parse(Buffer.from(info.features?.value ?? new Uint8Array(0)).toString() || '{}')
    const { linux } = features as { linux?: { mountExtensions?: { idmap?: { enabled?: boolean } } } }
    if (linux?.mountExtensions?.idmap?.enabled !== true) {
      throw new UnknownError(`OCI runtime doesn't support idmapped mounts, which the spec of ${task.containerId} asks for`)
    }
  }

  #monitor(task: Task, runtime: string): void {
    const { namespace, id } = task.bundle
    const stats = async (signal: AbortSignal) =>
      statsOf(await task.shim.tasks.stats({ id }, { signal, timeoutMs: this.#deps.limits.stats }))
    for (const monitor of this.#deps.monitors) monitor.add({ namespace, id, runtime, stats })
  }

  async #find(ctx: Context, id: string): Promise<Task> {
    const key = keyOf(requireNamespace(ctx), id)
    await this.#recovering.get(key)
    const task = this.#tasks.get(key)
    if (task === undefined) throw new NotFoundError(`task ${id}`)
    return task
  }

  /** Asks the shim of a task, or the one that takes over from it. */
  async #ask<T>(
    task: Task,
    timeoutMs: number,
    call: (tasks: ShimTasks, options: { timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    await task.reviving
    return call(task.shim.tasks, { timeoutMs })
  }

  /** As {@link #ask}, for what may be asked twice: when a shim of ours dies meanwhile, the next one is asked. */
  async #askAgain<T>(
    task: Task,
    timeoutMs: number,
    call: (tasks: ShimTasks, options: { timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    await task.reviving
    const { shim } = task
    try {
      return await call(shim.tasks, { timeoutMs })
    } catch (error) {
      if (!isTtrpcClosed(error) || !task.binary.own || this.#closing) throw error
    }
    this.#onShimGone(shim)
    return this.#ask(task, timeoutMs, call)
  }

  #operate<T>(task: Task, call: (tasks: ShimTasks, options: { timeoutMs: number }) => Promise<T>): Promise<T> {
    return this.#ask(task, this.#deps.limits.operation, call)
  }

  async start(ctx: Context, id: string, execId: string): Promise<number> {
    const task = await this.#find(ctx, id)
    try {
      const { pid } = await this.#operate(task, (tasks, options) => tasks.start({ id, execId }, options))
      task.processes.started(execId, pid)
      task.pending.delete(execId)
      this.#keep(task, execId)
      return pid
    } catch (error) {
      // Nobody shall wait for what never ran.
      if (execId !== '' && task.processes.state(execId)?.pid === 0) {
        const stdio = task.processes.state(execId)
        task.processes.remove(execId, neverRan)
        if (stdio !== undefined) task.processes.add(execId, stdio)
      }
      throw error
    }
  }

  async delete(ctx: Context, id: string, execId: string): Promise<TaskExit> {
    const task = await this.#find(ctx, id)
    let exit: TaskExit | undefined
    let failure: unknown
    try {
      exit = exitOf(await this.#operate(task, (tasks, options) => tasks.delete({ id, execId }, options)))
    } catch (error) {
      // The shim does not have it, or is gone: what is left of it goes too, and the caller hears why there is no answer.
      if (execId !== '' || (!isNotFound(error) && !isTtrpcClosed(error))) throw error
      if (isTtrpcClosed(error) && task.binary.own) throw error
      failure = error
    }
    task.pending.delete(execId)
    if (execId !== '') task.processes.remove(execId, exit ?? neverRan)
    else if (this.#forget(task, exit ?? neverRan)) await this.#remove(task)
    if (exit === undefined) throw failure
    return exit
  }

  /** Takes a task out of the books; false when somebody else has. */
  #forget({ bundle: { namespace, id }, processes, kept }: Task, exit: TaskExit | undefined): boolean {
    for (const monitor of this.#deps.monitors) monitor.remove(namespace, id)
    this.#tables.delete(keyOf(namespace, id))
    kept.releaseAll()
    if (exit !== undefined) processes.remove('', exit)
    processes.fail(new NotFoundError(`task ${id}`))
    return this.#tasks.delete(keyOf(namespace, id))
  }

  /** Until it settles, nothing is created in its place. */
  async #clearingAway<T>({ namespace, id }: Bundle, work: Promise<T>): Promise<T> {
    const key = keyOf(namespace, id)
    this.#clearing.set(key, work)
    try {
      return await work
    } finally {
      if (this.#clearing.get(key) === work) this.#clearing.delete(key)
    }
  }

  #remove(task: Task): Promise<void> {
    return this.#clearingAway(task.bundle, this.#removeAll(task))
  }

  async #removeAll({ bundle, shim, shimLog }: Task): Promise<void> {
    try {
      await this.#use.leave(shim)
      await deleteBundle(bundle)
    } catch (error) {
      this.#deps.log.warn('failed to remove a bundle', { id: bundle.id, namespace: bundle.namespace, error })
    } finally {
      shimLog.close()
    }
  }

  async #shutdown(shim: Shim): Promise<void> {
    const { shutdown: timeoutMs } = this.#deps.limits
    try {
      await shim.tasks.shutdown({ id: '', now: false }, { timeoutMs })
      await Promise.race([shim.closed, sleep(timeoutMs)])
    } catch (error) {
      if (!isTtrpcClosed(error)) this.#deps.log.debug('failed to shut down a shim', { address: shim.address, error })
    }
    shim.close()
  }

  async state(ctx: Context, id: string, execId: string): Promise<TaskState> {
    return this.#stateOf(await this.#find(ctx, id), execId)
  }

  /** By heart; only what an earlier life of the daemon knew, the shim is asked for. */
  async #stateOf(task: Task, execId: string): Promise<TaskState> {
    const known = task.processes.state(execId)
    if (known !== undefined && known.status !== 'unknown') return known
    return this.#learn(task, execId)
  }

  async #askState(task: Task, execId: string): Promise<TaskState> {
    const { id } = task.bundle
    const { state: limitMs } = this.#deps.limits
    return stateOf(id, await this.#askAgain(task, limitMs, (tasks, options) => tasks.state({ id, execId }, options)))
  }

  async #learn(task: Task, execId: string): Promise<TaskState> {
    const state = await this.#askState(task, execId)
    task.processes.learn(execId, state)
    this.#keep(task, execId)
    return task.processes.state(execId) ?? state
  }

  async list(ctx: Context): Promise<TaskState[]> {
    const namespace = requireNamespace(ctx)
    const prefix = keyOf(namespace, '')
    const awaited = [...this.#recovering].filter(([key]) => key.startsWith(prefix)).map(([, recovery]) => recovery)
    if (awaited.length > 0) await Promise.race([Promise.all(awaited), sleep(listPatienceMs)])
    const known = [...this.#tasks.values()].flatMap(({ bundle, processes }) =>
      bundle.namespace === namespace ? (processes.state('') ?? []) : [],
    )
    const sought = [...this.#recovering.keys()].filter((key) => key.startsWith(prefix) && !this.#tasks.has(key))
    return [...known, ...sought.map((key) => unknownState(key.slice(prefix.length)))]
  }

  async kill(ctx: Context, id: string, execId: string, signal: number, all: boolean): Promise<void> {
    const task = await this.#find(ctx, id)
    await this.#askAgain(task, this.#deps.limits.operation, (tasks, options) => tasks.kill({ id, execId, signal, all }, options))
  }

  async exec(ctx: Context, id: string, process: Parameters<TaskRuntime['exec']>[2]): Promise<void> {
    const task = await this.#find(ctx, id)
    await this.#askAgain(task, this.#deps.limits.operation, (tasks, options) => tasks.exec({ id, ...process }, options))
    task.processes.add(process.execId, process)
    task.pending.set(process.execId, process)
  }

  async resizePty(ctx: Context, id: string, execId: string, width: number, height: number): Promise<void> {
    const task = await this.#find(ctx, id)
    await this.#askAgain(task, this.#deps.limits.operation, (tasks, options) =>
      tasks.resizePty({ id, execId, width, height }, options),
    )
  }

  async closeIO(ctx: Context, id: string, execId: string, stdin: boolean): Promise<void> {
    const task = await this.#find(ctx, id)
    if (stdin) task.kept.releaseStdin(execId)
    await this.#askAgain(task, this.#deps.limits.operation, (tasks, options) => tasks.closeIO({ id, execId, stdin }, options))
  }

  async pause(ctx: Context, id: string): Promise<void> {
    const task = await this.#find(ctx, id)
    await this.#operate(task, (tasks, options) => tasks.pause({ id }, options))
    task.processes.setPaused(true)
  }

  async resume(ctx: Context, id: string): Promise<void> {
    const task = await this.#find(ctx, id)
    await this.#operate(task, (tasks, options) => tasks.resume({ id }, options))
    task.processes.setPaused(false)
  }

  async pids(ctx: Context, id: string): Promise<{ pid: number; info?: Any }[]> {
    const task = await this.#find(ctx, id)
    const { processes } = await this.#askAgain(task, this.#deps.limits.operation, (tasks, options) => tasks.pids({ id }, options))
    return processes.map(({ pid, info }) => (info === undefined ? { pid } : { pid, info }))
  }

  async checkpoint(ctx: Context, id: string, path: string, options: Any | undefined): Promise<void> {
    const task = await this.#find(ctx, id)
    await this.#ask(task, this.#deps.limits.checkpoint, (tasks, limit) => tasks.checkpoint({ id, path, options }, limit))
  }

  async update(
    ctx: Context,
    id: string,
    resources: Any | undefined,
    annotations: Readonly<Record<string, string>>,
  ): Promise<void> {
    const task = await this.#find(ctx, id)
    const request = { id, resources, annotations: { ...annotations } }
    await this.#askAgain(task, this.#deps.limits.operation, (tasks, options) => tasks.update(request, options))
  }

  async stats(ctx: Context, id: string): Promise<Any> {
    const task = await this.#find(ctx, id)
    const { signal } = ctx
    return statsOf(
      await this.#askAgain(task, this.#deps.limits.stats, (tasks, options) => tasks.stats({ id }, { ...options, signal })),
    )
  }

  async wait(ctx: Context, id: string, execId: string): Promise<TaskExit> {
    const task = await this.#find(ctx, id)
    if (task.processes.state(execId) === undefined) await this.#learn(task, execId)
    const exit = task.processes.wait(execId, ctx.signal)
    if (exit === undefined) throw new NotFoundError(`process does not exist ${execId}`)
    return exit
  }

  async info(_ctx: Context, runtimePath: string, options: Any | undefined): Promise<Any> {
    const value = await this.#deps.commands.info(this.#deps.findShim(runtimePath), options)
    return { typeUrl: 'containerd.types.RuntimeInfo', value }
  }

  /** Sees to it that the death of a shim is noticed. */
  #watch(shim: Shim): Shim {
    if (this.#watched.has(shim)) return shim
    this.#watched.add(shim)
    void shim.closed.then(() => this.#onShimGone(shim))
    return shim
  }

  /** Has another shim of ours take over the tasks of one that died; those of other shims are cleared away, as containerd does. */
  #onShimGone(shim: Shim): void {
    if (this.#closing) return
    const tasks = [...this.#tasks.values()].filter((task) => task.shim === shim && task.reviving === undefined)
    const revived = tasks.filter(({ binary }) => binary.own)
    for (const task of tasks) if (!task.binary.own) void this.#bury(task)
    if (revived.length === 0) return
    const reviving = this.#revive(shim, revived).finally(() => {
      for (const task of revived) task.reviving = undefined
    })
    for (const task of revived) task.reviving = reviving
  }

  async #revive(dead: Shim, tasks: readonly Task[]): Promise<void> {
    this.#deps.log.warn('a shim is gone, another takes over', { address: dead.address, namespace: dead.namespace })
    // At once, as the kernel tells the end of a process only to those who knew it before.
    const handover = tasks.flatMap(handoverOf)
    try {
      const allowed = this.#countRevival(dead.address)
      for (const task of tasks) await (allowed ? this.#takeOver(task, handover) : this.#bury(task))
    } finally {
      closeAll(handover.flatMap(({ process }) => process ?? []))
    }
  }

  async #takeOver(task: Task, handover: readonly Handover[]): Promise<void> {
    const { id, namespace } = task.bundle
    let next: Shim | undefined
    try {
      next = await this.#shimFor(task.binary, task.bundle, undefined, { address: task.shim.address, handover })
      const state = stateOf(id, await next.tasks.state({ id, execId: '' }, { timeoutMs: this.#deps.limits.state }))
      for (const exec of task.pending.values()) await next.tasks.exec({ id, ...exec }, { timeoutMs: this.#deps.limits.state })
      task.shim = next
      if (state.status !== 'stopped') task.processes.learn('', state)
      // Exits that the dead shim knew, but had told nobody yet.
      setTimeout(() => {
        for (const { execId, pid } of task.processes.living()) if (!isThere(pid)) void this.#lookAgain(task, execId)
      }, lookAfterMs).unref()
      // It may have died, too, before it had the task.
      if (next.isClosed) queueMicrotask(() => this.#onShimGone(next as Shim))
    } catch (error) {
      this.#deps.log.warn('a task was not taken over, cleaning up', { id, namespace, error })
      if (next !== undefined) await this.#use.leave(next)
      await this.#bury(task)
    }
  }

  /** False when the shims at an address have died too often of late. */
  #countRevival(address: string): boolean {
    const count = this.#revivals.get(address) ?? 0
    if (count >= maxRevivals) return false
    this.#revivals.set(address, count + 1)
    setTimeout(() => {
      const left = (this.#revivals.get(address) ?? 1) - 1
      if (left > 0) this.#revivals.set(address, left)
      else this.#revivals.delete(address)
    }, revivalsForgottenAfterMs).unref()
    return true
  }

  /** Clears away a task whose shim has died, and tells that it has ended. */
  async #bury(task: Task): Promise<void> {
    const { namespace, id } = task.bundle
    this.#deps.log.warn('the shim of a task is gone, cleaning up', { id, namespace })
    if (!this.#forget(task, undefined)) return
    const exit = await this.#clearingAway(task.bundle, this.#clear(task.bundle, task.binary))
    task.shimLog.close()
    await this.#publishEnd(namespace, id, exit)
  }

  /** The delete action of a shim that is not there any more, and the removal of the bundle. Never fails. */
  async #clear(bundle: Bundle, binary: ShimBinary): Promise<TaskExit> {
    const { namespace, id } = bundle
    let exit: TaskExit = { pid: 0, exitStatus: 255, exitedAt: now() }
    try {
      exit = await this.#deps.commands.delete(binary, bundle)
    } catch (error) {
      this.#deps.log.warn('failed to clean up after a dead shim', { id, namespace, error })
    }
    try {
      await deleteBundle(bundle)
    } catch (error) {
      this.#deps.log.warn('failed to remove a bundle', { id, namespace, error })
    }
    return exit
  }

  async #publishEnd(namespace: string, containerId: string, exit: TaskExit): Promise<void> {
    await this.#publishExit(namespace, containerId, '', exit)
    const { pid, exitStatus, exitedAt } = exit
    const deleted = { containerId, id: '', pid, exitStatus, exitedAt }
    await this.#publish(namespace, '/tasks/delete', packAny('containerd.events.TaskDelete', TaskDelete, deleted))
  }

  async #publishExit(namespace: string, containerId: string, execId: string, exit: TaskExit): Promise<void> {
    const event = { ...exit, containerId, id: execId === '' ? containerId : execId }
    await this.#publish(namespace, '/tasks/exit', packAny('containerd.events.TaskExit', TaskExitEvent, event))
  }

  async #publish(namespace: string, topic: string, event: Any): Promise<void> {
    try {
      await this.#deps.events.publish(background(namespace, { log: this.#deps.log }), topic, event)
    } catch (error) {
      this.#deps.log.warn('failed to publish an event', { topic, namespace, error })
    }
  }

  /** Asks about a process that is not there any more, or of which nothing is known; an exit that no event told is told now. */
  async #lookAgain(task: Task, execId: string): Promise<void> {
    const { namespace, id } = task.bundle
    const before = task.processes.state(execId)
    if (before === undefined || before.status === 'stopped' || task.reviving !== undefined) return
    let state: TaskState
    try {
      state = await this.#askState(task, execId)
    } catch (error) {
      if (!isNotFound(error)) {
        this.#deps.log.debug('cannot ask about a process', { id, namespace, execId, error })
        return
      }
      state = { ...before, status: 'stopped', exitStatus: 255, exitedAt: now() }
    }
    const exit = { pid: before.pid, exitStatus: state.exitStatus, exitedAt: state.exitedAt ?? zeroTimestamp }
    if (state.status !== 'stopped' || before.status === 'unknown') task.processes.learn(execId, state)
    else if (task.processes.exited(execId, exit)) {
      this.#deps.log.warn('an exit was missed', { id, namespace, execId })
      await this.#publishExit(namespace, id, execId, exit)
    }
  }

  async recover(): Promise<void> {
    const waiting = listBundles(this.#deps.roots).map((bundle) => {
      let begin = () => {}
      const begun = new Promise<void>((resolve) => {
        begin = resolve
      })
      const key = keyOf(bundle.namespace, bundle.id)
      const recovery = begun
        .then(() => this.#recoverOne(bundle))
        .catch((error: unknown) => this.#deps.log.error('failed to find a task again', { id: bundle.id, error }))
        .finally(() => this.#recovering.delete(key))
      this.#recovering.set(key, recovery)
      return { begin, recovery }
    })
    const work = async () => {
      for (let next = waiting.shift(); next !== undefined && !this.#closing; next = waiting.shift()) {
        next.begin()
        await next.recovery
      }
    }
    await Promise.all(Array.from({ length: recoveriesAtOnce }, work))
  }

  async #recoverOne(bundle: Bundle): Promise<void> {
    const { namespace, id } = bundle
    const log = this.#deps.log.with({ id, namespace })
    const stored = loadShim(bundle)
    let binary: ShimBinary
    try {
      binary = this.#binaryAt(stored.binary)
    } catch (error) {
      log.warn('the shim of a bundle is not installed any more', { error })
      await deleteBundle(bundle).catch((failure: unknown) => log.warn('failed to remove a bundle', { error: failure }))
      return
    }
    const shim = await this.#shimOf(bundle, binary, stored.bootstrap, log)
    if (this.#closing) return
    if (shim === undefined) {
      await this.#clear(bundle, binary)
      return
    }
    const kept = createKeptDescriptors()
    const task: Task = {
      bundle,
      shim,
      binary,
      shimLog: openShimLog(logPath(bundle), log),
      processes: createProcessTable(id, kept.release),
      kept,
      pending: new Map(),
      reviving: undefined,
    }
    const key = keyOf(namespace, id)
    this.#tables.set(key, task.processes)
    this.#tasks.set(key, task)
    try {
      await this.#learn(task, '')
    } catch (error) {
      if (isNotFound(error)) {
        log.info('the shim of a bundle does not know its task, cleaning up')
        if (this.#forget(task, neverRan)) await this.#remove(task)
        return
      }
      log.warn('a shim does not answer; its task is kept', { error })
      task.processes.learn('', unknownState(id))
    }
    this.#monitor(task, '')
    if (shim.isClosed) this.#onShimGone(shim)
  }

  /** The shim of a bundle from an earlier life: the one that runs, or, for one of ours that is gone, another. Counts as its use. */
  async #shimOf(
    bundle: Bundle,
    binary: ShimBinary,
    bootstrap: ReturnType<typeof loadShim>['bootstrap'],
    log: Logger,
  ): Promise<Shim | undefined> {
    try {
      if (bootstrap === undefined) throw new NotFoundError(`address of the shim of ${bundle.id}`)
      const shim = this.#watch(await this.#pool.connect(bundle.namespace, bootstrap))
      try {
        await this.#greet(shim, bundle.id)
      } catch (error) {
        // One that is there and says nothing may do so later.
        if (errorCode(error) !== 'DeadlineExceeded') throw error
      }
      return this.#use.enter(shim)
    } catch (error) {
      if (!binary.own || bootstrap === undefined) {
        log.info('the shim of a bundle is gone, cleaning up', { error })
        return undefined
      }
      log.info('the shim of a bundle is gone, another takes over', { error })
      return this.#shimFor(binary, bundle, undefined, { address: bootstrap.address, handover: [] }).catch((failure: unknown) => {
        log.warn('no other shim takes over, cleaning up', { error: failure })
        return undefined
      })
    }
  }

  #binaryAt(path: string | undefined): ShimBinary {
    // Whatever release of ours it was and wherever that stood: it may be gone by now, and the present one takes over from it.
    const ours = path === undefined || basename(path) === ownShimName
    return this.#deps.findShim(ours ? '' : path)
  }

  /** Asks a shim, once, whether it is there, and which process it is. */
  #greet(shim: Shim, id: string): Promise<void> {
    const known = this.#greetings.get(shim)
    if (known !== undefined) return known
    const greeting = this.#hail(shim, id)
    this.#greetings.set(shim, greeting)
    return greeting
  }

  async #hail(shim: Shim, id: string): Promise<void> {
    const { load: timeoutMs } = this.#deps.limits
    try {
      shim.pid = (await shim.tasks.connect({ id }, { timeoutMs })).shimPid
    } catch (error) {
      if (!isUnimplemented(error) || shim.bootstrap.version !== 3) throw error
      shim.downgrade()
      shim.pid = (await shim.tasks.connect({ id }, { timeoutMs })).shimPid
    }
  }

  debugVars(): Readonly<Record<string, number>> {
    const tasks = [...this.#tasks.values()]
    const count = (of: (task: Task) => number) => tasks.reduce((sum, task) => sum + of(task), 0)
    return {
      tasks: tasks.length,
      tables: this.#tables.size,
      processes: count(({ processes }) => processes.size),
      pendingExecs: count(({ pending }) => pending.size),
      keptDescriptors: count(({ kept }) => kept.size),
      creating: this.#creating.size,
      recovering: this.#recovering.size,
      clearing: this.#clearing.size,
      revivals: this.#revivals.size,
      shims: this.#pool.size,
      ...this.#use.counts(),
    }
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#stop.abort()
    for (const { processes } of this.#tasks.values()) processes.fail(new UnavailableError('the daemon stops'))
    await this.#use.close()
    for (const { shimLog, kept } of this.#tasks.values()) {
      shimLog.close()
      kept.releaseAll()
    }
    this.#pool.close()
  }
}

/** How a process has ended that never began. */
const neverRan: TaskExit = { pid: 0, exitStatus: 0, exitedAt: zeroTimestamp }

function unknownState(containerId: string): TaskState {
  const nowhere = { stdin: '', stdout: '', stderr: '', terminal: false }
  return { containerId, id: containerId, pid: 0, status: 'unknown', exitStatus: 0, ...nowhere }
}

function handoverOf({ processes, kept }: Task): Handover[] {
  return processes.living().map(({ execId, pid }) => {
    const process = tryOpenProcess(pid)
    const master = kept.terminal(execId)
    return { pid, ...(process === undefined ? {} : { process }), ...(master === undefined ? {} : { master }) }
  })
}

function keyOf(namespace: string, id: string): string {
  return `${namespace}/${id}`
}

function wrapped(what: string, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error)
  return new ContainerdError(errorCode(error) ?? 'Unknown', `${what}: ${message}`, { cause: error })
}

function wantsShimCgroup(options: Any | undefined): boolean {
  if (options === undefined || !options.typeUrl.endsWith('containerd.runc.v1.Options')) return false
  try {
    return Options.decode(options.value).shimCgroup !== ''
  } catch (cause) {
    throw new InvalidArgumentError('the options of the runtime cannot be decoded', { cause })
  }
}

function statsOf({ stats }: { stats: Any | undefined }): Any {
  if (stats === undefined) throw new NotFoundError('statistics of the task')
  return stats
}

function exitOf({
  pid,
  exitStatus,
  exitedAt,
}: {
  pid: number
  exitStatus: number
  exitedAt: TaskExit['exitedAt'] | undefined
}): TaskExit {
  return { pid, exitStatus, exitedAt: exitedAt ?? zeroTimestamp }
}

const statusNames: Readonly<Record<number, TaskStatus>> = {
  [Status.CREATED]: 'created',
  [Status.RUNNING]: 'running',
  [Status.STOPPED]: 'stopped',
  [Status.PAUSED]: 'paused',
  [Status.PAUSING]: 'pausing',
}

function stateOf(containerId: string, state: StateResponse): TaskState {
  const { id, execId, pid, status, stdin, stdout, stderr, terminal, exitStatus, exitedAt } = state
  return {
    containerId,
    id: execId === '' ? id : execId,
    pid,
    status: statusNames[status] ?? 'unknown',
    stdin,
    stdout,
    stderr,
    terminal,
    exitStatus,
    exitedAt: exitedAt ?? zeroTimestamp,
  }
}
