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
  type EventPublisher,
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
  UnknownError,
} from '@containerd-ts/interface'
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
import type { ShimBinary } from './shim-binary.js'
import type { ShimCommands } from './shim-command.js'
import { openShimLog, type ShimLog } from './shim-log.js'
import { createShimPool, type Shim, type ShimPool } from './shim-pool.js'
import { createShimUse, type ShimUse } from './shim-use.js'

export interface RuntimeDeps {
  roots: BundleRoots
  events: EventPublisher
  monitors: readonly TaskMonitor[]
  log: Logger
  commands: ShimCommands
  findShim: (runtime: string) => ShimBinary
  scope: ShimScope
  idleMs: number
}

/** The runtime as the plugin gives it out, with what the daemon's life asks for. */
export interface LinuxRuntime extends TaskRuntime {
  /** Finds the tasks again that an earlier life of the daemon left running; clears away those that did not survive. */
  recover(): Promise<void>
  /** Leaves all tasks running. */
  close(): Promise<void>
}

interface Task {
  readonly bundle: Bundle
  readonly shim: Shim
  readonly binary: ShimBinary
  readonly shimLog: ShimLog
}

const stateLimitMs = 2000
const shutdownLimitMs = 3000
const reconnectLimitMs = 5000

export function createRuntime(deps: RuntimeDeps): LinuxRuntime {
  return new Runtime(deps)
}

class Runtime implements LinuxRuntime {
  readonly #deps: RuntimeDeps
  readonly #tasks = new Map<string, Task>()
  readonly #creating = new Set<string>()
  readonly #watched = new WeakSet<Shim>()
  readonly #pool: ShimPool
  readonly #use: ShimUse
  #closing = false

  constructor(deps: RuntimeDeps) {
    this.#deps = deps
    this.#pool = createShimPool()
    this.#use = createShimUse(deps.idleMs, (shim) => this.#shutdown(shim))
  }

  async create(ctx: Context, task: CreateTask): Promise<number> {
    const namespace = requireNamespace(ctx)
    const key = keyOf(namespace, task.containerId)
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
    let shim: Shim | undefined
    try {
      shim = await this.#shimFor(binary, bundle, task.options)
      storeShim(bundle, binary.path, shim.bootstrap)
      const pid = await this.#createIn(shim, bundle, task)
      const entry = { bundle, shim, binary, shimLog }
      this.#tasks.set(key, entry)
      // Its death went unnoticed as long as the task was not in the books.
      if (shim.isClosed) void this.#bury(entry)
      this.#monitor(namespace, task.containerId, task.runtime, shim)
      return pid
    } catch (error) {
      await this.#discard(ctx, binary, bundle, shim)
      shimLog.close()
      throw error
    }
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
    try {
      try {
        return (await shim.tasks.create(request)).pid
      } catch (error) {
        if (!isUnimplemented(error) || shim.bootstrap.version !== 3) throw error
        shim.downgrade()
        return (await shim.tasks.create(request)).pid
      }
    } catch (error) {
      throw wrapped('failed to create shim task', error)
    }
  }

  /** A shim for the bundle, one that serves the whole namespace where that is possible. Counts as its use. */
  async #shimFor(binary: ShimBinary, bundle: Bundle, options: Any | undefined): Promise<Shim> {
    // A shim in a cgroup of the container's choice serves that container only.
    const scope = this.#deps.scope === 'namespace' && wantsShimCgroup(options) ? 'sandbox' : this.#deps.scope
    const start = async () => {
      try {
        const bootstrap = await this.#deps.commands.start(binary, bundle, options, scope)
        return this.#watch(await this.#pool.connect(bundle.namespace, bootstrap))
      } catch (error) {
        throw wrapped('failed to start shim', error)
      }
    }
    if (binary.own && scope === 'namespace') return this.#use.resident(bundle.namespace, start)
    return this.#use.enter(await start())
  }

  /** Undoes a create that failed; nobody has heard of the task, and nobody shall. */
  async #discard(ctx: Context, binary: ShimBinary, bundle: Bundle, shim: Shim | undefined): Promise<void> {
    try {
      if (shim === undefined) {
        // The shim may have started and died, or be there without an answer.
        if (!binary.own) await this.#deps.commands.delete(binary, bundle).catch(() => {})
      } else if (shim.isClosed) {
        await this.#deps.commands.delete(binary, bundle).catch(() => {})
        await this.#use.leave(shim)
      } else {
        // It is there only when what failed came after its creation.
        await shim.tasks.delete({ id: bundle.id, execId: '' }, { timeoutMs: shutdownLimitMs }).catch(() => {})
        await this.#use.leave(shim)
      }
      await deleteBundle(bundle)
    } catch (error) {
      ctx.log.warn('failed to clean up after a failed create', { id: bundle.id, namespace: bundle.namespace, error })
    }
  }

  async #requireMappedMounts(binary: ShimBinary, task: CreateTask): Promise<void> {
    const info = RuntimeInfo.decode(await this.#deps.commands.info(binary, task.options))
    const features: unknown = JSON.parse(Buffer.from(info.features?.value ?? new Uint8Array(0)).toString() || '{}')
    const { linux } = features as { linux?: { mountExtensions?: { idmap?: { enabled?: boolean } } } }
    if (linux?.mountExtensions?.idmap?.enabled !== true) {
      throw new UnknownError(`OCI runtime doesn't support idmapped mounts, which the spec of ${task.containerId} asks for`)
    }
  }

  #monitor(namespace: string, id: string, runtime: string, shim: Shim): void {
    const stats = async (signal: AbortSignal) => statsOf(await shim.tasks.stats({ id }, { signal }))
    for (const monitor of this.#deps.monitors) monitor.add({ namespace, id, runtime, stats })
  }

  #find(ctx: Context, id: string): Task {
    const task = this.#tasks.get(keyOf(requireNamespace(ctx), id))
    if (task === undefined) throw new NotFoundError(`task ${id}`)
    return task
  }

  async start(ctx: Context, id: string, execId: string): Promise<number> {
    const { shim } = this.#find(ctx, id)
    return (await shim.tasks.start({ id, execId })).pid
  }

  async delete(ctx: Context, id: string, execId: string): Promise<TaskExit> {
    const task = this.#find(ctx, id)
    if (execId !== '') return exitOf(await task.shim.tasks.delete({ id, execId }))
    let exit: TaskExit | undefined
    let failure: unknown
    try {
      exit = exitOf(await task.shim.tasks.delete({ id, execId }))
    } catch (error) {
      // The shim does not have it, or is gone: what is left of it goes too, and the caller hears why there is no answer.
      if (!isNotFound(error) && !isTtrpcClosed(error)) throw error
      failure = error
    }
    if (this.#forget(task)) await this.#remove(task)
    if (exit === undefined) throw failure
    return exit
  }

  /** Takes a task out of the books; false when somebody else has. */
  #forget({ bundle: { namespace, id } }: Task): boolean {
    for (const monitor of this.#deps.monitors) monitor.remove(namespace, id)
    return this.#tasks.delete(keyOf(namespace, id))
  }

  async #remove({ bundle, shim, shimLog }: Task): Promise<void> {
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
    try {
      await shim.tasks.shutdown({ id: '', now: false }, { timeoutMs: shutdownLimitMs })
      await Promise.race([shim.closed, sleep(shutdownLimitMs)])
    } catch (error) {
      if (!isTtrpcClosed(error)) this.#deps.log.debug('failed to shut down a shim', { address: shim.address, error })
    }
    shim.close()
  }

  async state(ctx: Context, id: string, execId: string): Promise<TaskState> {
    const { shim } = this.#find(ctx, id)
    return stateOf(id, await shim.tasks.state({ id, execId }, { timeoutMs: stateLimitMs }))
  }

  async list(ctx: Context): Promise<TaskState[]> {
    const namespace = requireNamespace(ctx)
    const tasks = [...this.#tasks.values()].filter(({ bundle }) => bundle.namespace === namespace)
    const states = await Promise.all(
      tasks.map(({ bundle: { id } }) =>
        this.state(ctx, id, '').catch((error: unknown) => {
          ctx.log.warn('failed to get the state of a task', { id, namespace, error })
          return undefined
        }),
      ),
    )
    return states.filter((state) => state !== undefined)
  }

  async kill(ctx: Context, id: string, execId: string, signal: number, all: boolean): Promise<void> {
    await this.#find(ctx, id).shim.tasks.kill({ id, execId, signal, all })
  }

  async exec(ctx: Context, id: string, process: Parameters<TaskRuntime['exec']>[2]): Promise<void> {
    await this.#find(ctx, id).shim.tasks.exec({ id, ...process })
  }

  async resizePty(ctx: Context, id: string, execId: string, width: number, height: number): Promise<void> {
    await this.#find(ctx, id).shim.tasks.resizePty({ id, execId, width, height })
  }

  async closeIO(ctx: Context, id: string, execId: string, stdin: boolean): Promise<void> {
    await this.#find(ctx, id).shim.tasks.closeIO({ id, execId, stdin })
  }

  async pause(ctx: Context, id: string): Promise<void> {
    await this.#find(ctx, id).shim.tasks.pause({ id })
  }

  async resume(ctx: Context, id: string): Promise<void> {
    await this.#find(ctx, id).shim.tasks.resume({ id })
  }

  async pids(ctx: Context, id: string): Promise<{ pid: number; info?: Any }[]> {
    const { processes } = await this.#find(ctx, id).shim.tasks.pids({ id })
    return processes.map(({ pid, info }) => (info === undefined ? { pid } : { pid, info }))
  }

  async checkpoint(ctx: Context, id: string, path: string, options: Any | undefined): Promise<void> {
    await this.#find(ctx, id).shim.tasks.checkpoint({ id, path, options })
  }

  async update(
    ctx: Context,
    id: string,
    resources: Any | undefined,
    annotations: Readonly<Record<string, string>>,
  ): Promise<void> {
    await this.#find(ctx, id).shim.tasks.update({ id, resources, annotations: { ...annotations } })
  }

  async stats(ctx: Context, id: string): Promise<Any> {
    return statsOf(await this.#find(ctx, id).shim.tasks.stats({ id }, { signal: ctx.signal }))
  }

  async wait(ctx: Context, id: string, execId: string): Promise<TaskExit> {
    const { exitStatus, exitedAt } = await this.#find(ctx, id).shim.tasks.wait({ id, execId }, { signal: ctx.signal })
    return { pid: 0, exitStatus, exitedAt: exitedAt ?? zeroTimestamp }
  }

  async info(_ctx: Context, runtimePath: string, options: Any | undefined): Promise<Any> {
    const value = await this.#deps.commands.info(this.#deps.findShim(runtimePath), options)
    return { typeUrl: 'containerd.types.RuntimeInfo', value }
  }

  /** Sees to it that the death of a shim is noticed. */
  #watch(shim: Shim): Shim {
    if (this.#watched.has(shim)) return shim
    this.#watched.add(shim)
    void shim.closed.then(() => this.#buryAll(shim))
    return shim
  }

  async #buryAll(shim: Shim): Promise<void> {
    if (this.#closing) return
    const tasks = [...this.#tasks.values()].filter((task) => task.shim === shim)
    await Promise.all(tasks.map((task) => this.#bury(task)))
  }

  /** Clears away a task whose shim has died, and tells that it has ended. */
  async #bury(task: Task): Promise<void> {
    const { namespace, id } = task.bundle
    if (!this.#forget(task)) return
    this.#deps.log.warn('the shim of a task is gone, cleaning up', { id, namespace })
    const exit = await this.#clear(task.bundle, task.binary)
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

  async #publishEnd(namespace: string, containerId: string, { pid, exitStatus, exitedAt }: TaskExit): Promise<void> {
    const ctx = background(namespace, { log: this.#deps.log })
    try {
      const exit = { containerId, id: containerId, pid, exitStatus, exitedAt }
      await this.#deps.events.publish(ctx, '/tasks/exit', packAny('containerd.events.TaskExit', TaskExitEvent, exit))
      const deleted = { containerId, id: '', pid, exitStatus, exitedAt }
      await this.#deps.events.publish(ctx, '/tasks/delete', packAny('containerd.events.TaskDelete', TaskDelete, deleted))
    } catch (error) {
      this.#deps.log.warn('failed to publish the end of a task', { id: containerId, namespace, error })
    }
  }

  async recover(): Promise<void> {
    await Promise.all(listBundles(this.#deps.roots).map((bundle) => this.#recoverOne(bundle)))
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
    let shim: Shim
    try {
      if (stored.bootstrap === undefined) throw new NotFoundError(`address of the shim of ${id}`)
      shim = this.#watch(await this.#pool.connect(namespace, stored.bootstrap))
      await this.#greet(shim, id)
    } catch (error) {
      log.info('the shim of a bundle is gone, cleaning up', { error })
      await this.#clear(bundle, binary)
      return
    }
    const task: Task = { bundle, shim: this.#use.enter(shim), binary, shimLog: openShimLog(logPath(bundle), log) }
    this.#tasks.set(keyOf(namespace, id), task)
    if (await this.#isLeaked(task)) {
      log.info('a task without processes was found, cleaning up')
      await this.delete(background(namespace, { log }), id, '').catch((error: unknown) =>
        log.warn('failed to delete a task', { error }),
      )
      return
    }
    this.#monitor(namespace, id, '', shim)
  }

  #binaryAt(path: string | undefined): ShimBinary {
    const own = this.#deps.findShim('')
    return path === undefined || path === own.path ? own : this.#deps.findShim(path)
  }

  async #greet(shim: Shim, id: string): Promise<void> {
    try {
      await shim.tasks.connect({ id }, { timeoutMs: reconnectLimitMs })
    } catch (error) {
      if (!isUnimplemented(error) || shim.bootstrap.version !== 3) throw error
      shim.downgrade()
      await shim.tasks.connect({ id }, { timeoutMs: reconnectLimitMs })
    }
  }

  async #isLeaked({ bundle: { id }, shim }: Task): Promise<boolean> {
    try {
      return (await shim.tasks.pids({ id }, { timeoutMs: reconnectLimitMs })).processes.length === 0
    } catch (error) {
      return isNotFound(error)
    }
  }

  async close(): Promise<void> {
    this.#closing = true
    await this.#use.close()
    for (const { shimLog } of this.#tasks.values()) shimLog.close()
    this.#pool.close()
  }
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
