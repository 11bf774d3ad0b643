import { type Any, type Handlers, now, typeName, zeroTimestamp } from '@containerd-ts/api'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import type { CreateTaskRequest, TasksDefinition } from '@containerd-ts/api/containerd/services/tasks/v1/tasks'
import type { Metric } from '@containerd-ts/api/containerd/types/metrics'
import { type Process, Status } from '@containerd-ts/api/containerd/v1/types/task'
import { parseFilters } from '@containerd-ts/filters'
import {
  type Container,
  type Context,
  type Differ,
  errorCode,
  InvalidArgumentError,
  type MetadataStore,
  requireNamespace,
  type TaskRuntime,
  type TaskState,
  type TaskStatus,
  UnknownError,
  validateIdentifier,
} from '@containerd-ts/interface'
import { unpackCheckpoint, writeCheckpoint } from './checkpoint.js'

export interface TasksDeps {
  runtime: TaskRuntime
  metadata: Pick<MetadataStore, 'containers' | 'content'>
  differ: Differ | undefined
}

/** The Tasks service: looks up the container's record, asks the runtime, and puts the answer in the API's words. */
export function createTasks({ runtime, metadata, differ }: TasksDeps): Handlers<typeof TasksDefinition, Context> {
  const { containers, content } = metadata

  /** Every call names a container, whose record must be there. */
  const containerOf = (ctx: Context, id: string): Promise<Container> => {
    requireNamespace(ctx)
    return containers.get(ctx, id)
  }

  const create = async (ctx: Context, request: CreateTaskRequest): Promise<{ containerId: string; pid: number }> => {
    const container = await containerOf(ctx, request.containerId)
    const name = request.runtimePath === '' ? container.runtime.name : request.runtimePath
    const given = request.options !== undefined && request.options.value.length > 0 ? request.options : undefined
    let checkpointPath = criuImagePath(container.runtime.name, given)
    const unpacked =
      checkpointPath === '' && request.checkpoint !== undefined
        ? await unpackCheckpoint(ctx, differ, request.checkpoint)
        : undefined
    if (unpacked !== undefined) checkpointPath = unpacked.path
    try {
      const options = given ?? container.runtime.options
      const pid = await runtime.create(ctx, {
        containerId: container.id,
        ...(container.spec && { spec: container.spec }),
        runtime: name,
        ...(options && { options }),
        rootfs: request.rootfs,
        checkpointPath,
        stdin: request.stdin,
        stdout: request.stdout,
        stderr: request.stderr,
        terminal: request.terminal,
      })
      // The runtime restores when the task is started, and needs the files until then.
      if (unpacked !== undefined) keepUntilStart(ctx, container.id, unpacked.release)
      return { containerId: container.id, pid }
    } catch (error) {
      unpacked?.release()
      throw error
    }
  }

  const awaitingStart = new Map<string, () => void>()
  const keyOf = (ctx: Context, id: string) => `${ctx.namespace}/${id}`
  const keepUntilStart = (ctx: Context, id: string, release: () => void) => awaitingStart.set(keyOf(ctx, id), release)
  const releaseCheckpoint = (ctx: Context, id: string) => {
    awaitingStart.get(keyOf(ctx, id))?.()
    awaitingStart.delete(keyOf(ctx, id))
  }

  return {
    create,
    start: async (ctx, { containerId, execId }) => {
      await containerOf(ctx, containerId)
      const pid = await runtime.start(ctx, containerId, execId)
      if (execId === '') releaseCheckpoint(ctx, containerId)
      return { pid }
    },
    delete: async (ctx, { containerId }) => {
      await containerOf(ctx, containerId)
      const { pid, exitStatus, exitedAt } = await runtime.delete(ctx, containerId, '')
      releaseCheckpoint(ctx, containerId)
      return { id: '', pid, exitStatus, exitedAt }
    },
    deleteProcess: async (ctx, { containerId, execId }) => {
      await containerOf(ctx, containerId)
      if (execId === '') throw new InvalidArgumentError('exec id cannot be empty')
      const { pid, exitStatus, exitedAt } = await runtime.delete(ctx, containerId, execId)
      return { id: execId, pid, exitStatus, exitedAt }
    },
    get: async (ctx, { containerId, execId }) => {
      await containerOf(ctx, containerId)
      try {
        return { process: processOf(await runtime.state(ctx, containerId, execId)) }
      } catch (error) {
        if (reportedStateErrors.has(errorCode(error) ?? '')) throw error
        ctx.log.error('failed to get the state of a task', { id: containerId, error })
        return { process: unknownProcess(execId === '' ? containerId : execId) }
      }
    },
    list: async (ctx) => {
      requireNamespace(ctx)
      return { tasks: (await runtime.list(ctx)).map(processOf) }
    },
    kill: async (ctx, { containerId, execId, signal, all }) => {
      await containerOf(ctx, containerId)
      await runtime.kill(ctx, containerId, execId, signal, all)
      return {}
    },
    exec: async (ctx, { containerId, execId, spec, stdin, stdout, stderr, terminal }) => {
      if (execId === '') throw new InvalidArgumentError('exec id cannot be empty')
      validateIdentifier(execId)
      await containerOf(ctx, containerId)
      await runtime.exec(ctx, containerId, { execId, ...(spec && { spec }), stdin, stdout, stderr, terminal })
      return {}
    },
    resizePty: async (ctx, { containerId, execId, width, height }) => {
      await containerOf(ctx, containerId)
      await runtime.resizePty(ctx, containerId, execId, width, height)
      return {}
    },
    closeIO: async (ctx, { containerId, execId, stdin }) => {
      await containerOf(ctx, containerId)
      await runtime.closeIO(ctx, containerId, execId, stdin)
      return {}
    },
    pause: async (ctx, { containerId }) => {
      await containerOf(ctx, containerId)
      await runtime.pause(ctx, containerId)
      return {}
    },
    resume: async (ctx, { containerId }) => {
      await containerOf(ctx, containerId)
      await runtime.resume(ctx, containerId)
      return {}
    },
    listPids: async (ctx, { containerId }) => {
      await containerOf(ctx, containerId)
      const processes = await runtime.pids(ctx, containerId)
      return { processes: processes.map(({ pid, info }) => ({ pid, info })) }
    },
    checkpoint: async (ctx, { containerId, options }) => {
      const container = await containerOf(ctx, containerId)
      return { descriptors: await writeCheckpoint(ctx, { runtime, content, differ }, container, options) }
    },
    update: async (ctx, { containerId, resources, annotations }) => {
      await containerOf(ctx, containerId)
      await runtime.update(ctx, containerId, resources, annotations)
      return {}
    },
    metrics: async (ctx, { filters }) => {
      const namespace = requireNamespace(ctx)
      const matches = parseFilters(filters)
      const tasks = (await runtime.list(ctx)).filter(({ containerId }) =>
        matches(([field]) => (field === 'id' ? containerId : field === 'namespace' ? namespace : undefined)),
      )
      const metrics = await Promise.all(tasks.map((task) => metricOf(ctx, runtime, task.containerId)))
      return { metrics: metrics.filter((metric) => metric !== undefined) }
    },
    wait: async (ctx, { containerId, execId }) => {
      await containerOf(ctx, containerId)
      const { exitStatus, exitedAt } = await runtime.wait(ctx, containerId, execId)
      return { exitStatus, exitedAt }
    },
  }
}

async function metricOf(ctx: Context, runtime: TaskRuntime, id: string): Promise<Metric | undefined> {
  try {
    return { timestamp: now(), id, data: await runtime.stats(ctx, id) }
  } catch (error) {
    ctx.log.error('failed to collect the metrics of a task', { id, error })
    return undefined
  }
}

/** The checkpoint directory that the options of a task name. @throws Unknown when a runc runtime is given options of another type. */
function criuImagePath(runtime: string, options: Any | undefined): string {
  if (options === undefined || !runtime.startsWith('io.containerd.runc.')) return ''
  if (typeName(options.typeUrl) !== 'containerd.runc.v1.Options')
    throw new UnknownError(`invalid task create option for ${runtime}`)
  try {
    return Options.decode(options.value).criuImagePath
  } catch (cause) {
    throw new UnknownError(`invalid task create option for ${runtime}`, { cause })
  }
}

const reportedStateErrors: ReadonlySet<string> = new Set(['NotFound', 'Unavailable', 'DeadlineExceeded'])

const statuses: Readonly<Record<TaskStatus, Status>> = {
  unknown: Status.UNKNOWN,
  created: Status.CREATED,
  running: Status.RUNNING,
  stopped: Status.STOPPED,
  paused: Status.PAUSED,
  pausing: Status.PAUSING,
}

function processOf({ id, pid, status, stdin, stdout, stderr, terminal, exitStatus, exitedAt }: TaskState): Process {
  return {
    containerId: '',
    id,
    pid,
    status: statuses[status],
    stdin,
    stdout,
    stderr,
    terminal,
    exitStatus,
    exitedAt: exitedAt ?? zeroTimestamp,
  }
}

function unknownProcess(id: string): Process {
  return {
    containerId: '',
    id,
    pid: 0,
    status: Status.UNKNOWN,
    stdin: '',
    stdout: '',
    stderr: '',
    terminal: false,
    exitStatus: 0,
    exitedAt: zeroTimestamp,
  }
}
