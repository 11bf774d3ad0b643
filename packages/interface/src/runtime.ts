import type { Any, Timestamp } from '@containerd-ts/api'
import type { Context } from './context.js'
import type { Mount } from './snapshots.js'

/** What a task is doing. */
export type TaskStatus = 'unknown' | 'created' | 'running' | 'stopped' | 'paused' | 'pausing'

/** Where a process' standard streams go: paths of FIFOs, or `file://`, `binary://` URIs; empty for none. */
export interface Stdio {
  stdin: string
  stdout: string
  stderr: string
  terminal: boolean
}

export interface CreateTask extends Stdio {
  containerId: string
  /** The OCI runtime spec; absent when the bundle needs none. */
  spec?: Any
  /** Name of the runtime, for instance `io.containerd.runc.v2`, or the absolute path of a shim binary. */
  runtime: string
  /** Options of the runtime, of the type that it defines; passed to the shim verbatim. */
  options?: Any
  /** Mounts that make the root filesystem; empty when the spec's `root.path` is ready. */
  rootfs: readonly Mount[]
  /** Directory of a checkpoint to restore from, empty to start anew. */
  checkpointPath: string
}

export interface TaskState extends Stdio {
  containerId: string
  /** The exec id, or the container id for the first process. */
  id: string
  pid: number
  status: TaskStatus
  exitStatus: number
  exitedAt?: Timestamp
}

/** How and when a process ended. */
export interface TaskExit {
  pid: number
  exitStatus: number
  exitedAt: Timestamp
}

/** A process of a task. */
export interface TaskProcess {
  pid: number
  info?: Any
}

/** Figures of a task at a moment. */
export interface TaskMetrics {
  id: string
  timestamp: Timestamp
  data: Any
}

export interface ExecTask extends Stdio {
  execId: string
  spec?: Any
}

/**
 * Runs containers. Each method names its task by container id, in the context's namespace, and a process in it by exec id; an empty
 * exec id is the first process. Methods fail with NotFound when there is no such task.
 *
 * Life of a task: `create` → created → `start` → running → (`pause` → paused → `resume`) → exit → stopped → `delete`.
 */
export interface TaskRuntime {
  /** Gives back the pid of the created, not yet started process. @throws AlreadyExists, and Unknown with the OCI runtime's words. */
  create(ctx: Context, task: CreateTask): Promise<number>
  /** Gives back the pid. */
  start(ctx: Context, id: string, execId: string): Promise<number>
  /** Removes a stopped task or exec process. */
  delete(ctx: Context, id: string, execId: string): Promise<TaskExit>
  state(ctx: Context, id: string, execId: string): Promise<TaskState>
  /** The first processes of all tasks in the namespace. */
  list(ctx: Context): Promise<TaskState[]>
  kill(ctx: Context, id: string, execId: string, signal: number, all: boolean): Promise<void>
  /** Registers a process; `start` runs it. @throws AlreadyExists */
  exec(ctx: Context, id: string, process: ExecTask): Promise<void>
  resizePty(ctx: Context, id: string, execId: string, width: number, height: number): Promise<void>
  closeIO(ctx: Context, id: string, execId: string, stdin: boolean): Promise<void>
  pause(ctx: Context, id: string): Promise<void>
  resume(ctx: Context, id: string): Promise<void>
  pids(ctx: Context, id: string): Promise<TaskProcess[]>
  /** Writes a checkpoint to `path`. */
  checkpoint(ctx: Context, id: string, path: string, options: Any | undefined): Promise<void>
  update(ctx: Context, id: string, resources: Any | undefined, annotations: Readonly<Record<string, string>>): Promise<void>
  stats(ctx: Context, id: string): Promise<Any>
  /** Settles when the process has exited, at once when it has already. */
  wait(ctx: Context, id: string, execId: string): Promise<TaskExit>
  /** What the runtime tells of itself: a packed `containerd.types.RuntimeInfo`. */
  info(ctx: Context, runtimePath: string, options: Any | undefined): Promise<Any>
}

/** Watches running tasks, for instance to export their metrics. */
export interface TaskMonitor {
  /** Called when a task runs; `stats` asks its shim. */
  add(task: MonitoredTask): void
  remove(namespace: string, id: string): void
}

/** A running task, as a monitor gets it. */
export interface MonitoredTask {
  readonly namespace: string
  readonly id: string
  /** Name of its runtime, empty when the task was found at start-up. */
  readonly runtime: string
  stats(signal: AbortSignal): Promise<Any>
}
