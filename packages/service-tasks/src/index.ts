/** The Tasks service: containers that run. */
import { TasksDefinition } from '@containerd-ts/api/containerd/services/tasks/v1/tasks'
import {
  bindService,
  type Container,
  type Context,
  errorCode,
  fromWireDescriptor,
  InvalidArgumentError,
  isNotFound,
  requireNamespace,
  type TaskRuntime,
  type TaskState,
  toWireDescriptor,
  validateIdentifier,
} from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createCheckpoints } from './checkpoints.js'
import { checkpointPath, taskOf } from './create.js'
import { collectMetrics } from './metrics.js'
import { toProcess } from './wire.js'

/** The plugin `io.containerd.grpc.v1.tasks`. */
export const tasksService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'tasks',
  requires: [PluginType.Metadata, PluginType.RuntimeV2],
  after: [PluginType.Differ],
  init(ic) {
    const { containers, content } = ic.get(PluginType.Metadata)
    const runtime = ic.get(PluginType.RuntimeV2)
    const [differ] = ic.getAll(PluginType.Differ).values()
    const awaits = (ctx: Context, id: string) => isCreated(runtime, ctx, id)
    const checkpoints = createCheckpoints({ content, differ, root: ic.root, awaits })
    // Not waited for: whoever needs it does.
    checkpoints.sweep().catch((error: unknown) => ic.log.warn('cannot clear away old checkpoints', { error }))
    /** Every call about a task is refused when there is no such container. */
    const containerOf = async (ctx: Context, id: string): Promise<Container> => {
      requireNamespace(ctx)
      return containers.get(ctx, id)
    }
    return {
      services: [
        bindService(TasksDefinition, {
          async create(ctx, request) {
            const container = await containerOf(ctx, request.containerId)
            const task = taskOf(container, request)
            if (request.checkpoint === undefined || task.checkpointPath !== '')
              return { containerId: container.id, pid: await runtime.create(ctx, task) }
            const checkpointPath = await checkpoints.unpack(ctx, container.id, fromWireDescriptor(request.checkpoint))
            try {
              return { containerId: container.id, pid: await runtime.create(ctx, { ...task, checkpointPath }) }
            } catch (error) {
              await checkpoints.discard(checkpointPath)
              throw error
            }
          },
          async start(ctx, { containerId, execId }) {
            await containerOf(ctx, containerId)
            const pid = await runtime.start(ctx, containerId, execId)
            if (execId === '') await checkpoints.forget(ctx, containerId)
            return { pid }
          },
          async delete(ctx, { containerId }) {
            await containerOf(ctx, containerId)
            try {
              return { id: '', ...(await runtime.delete(ctx, containerId, '')) }
            } finally {
              // Also when it has gone in another way.
              await checkpoints.forget(ctx, containerId)
            }
          },
          async deleteProcess(ctx, { containerId, execId }) {
            // An empty id is the first process, which only Delete removes.
            if (execId === '') throw new InvalidArgumentError('exec id cannot be empty')
            await containerOf(ctx, containerId)
            return { id: execId, ...(await runtime.delete(ctx, containerId, execId)) }
          },
          async get(ctx, { containerId, execId }) {
            await containerOf(ctx, containerId)
            return { process: toProcess(await stateOf(runtime, ctx, containerId, execId)) }
          },
          async list(ctx) {
            requireNamespace(ctx)
            return { tasks: (await runtime.list(ctx)).map(toProcess) }
          },
          async kill(ctx, { containerId, execId, signal, all }) {
            await containerOf(ctx, containerId)
            await runtime.kill(ctx, containerId, execId, signal, all)
            return {}
          },
          async exec(ctx, { containerId, execId, ...process }) {
            if (execId === '') throw new InvalidArgumentError('exec id cannot be empty')
            validateIdentifier(execId, 'exec id')
            await containerOf(ctx, containerId)
            const { stdin, stdout, stderr, terminal, spec } = process
            await runtime.exec(ctx, containerId, { execId, stdin, stdout, stderr, terminal, ...(spec && { spec }) })
            return {}
          },
          async resizePty(ctx, { containerId, execId, width, height }) {
            await containerOf(ctx, containerId)
            await runtime.resizePty(ctx, containerId, execId, width, height)
            return {}
          },
          async closeIO(ctx, { containerId, execId, stdin }) {
            await containerOf(ctx, containerId)
            await runtime.closeIO(ctx, containerId, execId, stdin)
            return {}
          },
          async pause(ctx, { containerId }) {
            await containerOf(ctx, containerId)
            await runtime.pause(ctx, containerId)
            return {}
          },
          async resume(ctx, { containerId }) {
            await containerOf(ctx, containerId)
            await runtime.resume(ctx, containerId)
            return {}
          },
          async listPids(ctx, { containerId }) {
            await containerOf(ctx, containerId)
            const processes = await runtime.pids(ctx, containerId)
            return { processes: processes.map(({ pid, info }) => ({ pid, info })) }
          },
          async checkpoint(ctx, { containerId, options }) {
            const container = await containerOf(ctx, containerId)
            const dump = (path: string) => runtime.checkpoint(ctx, containerId, path, options)
            const path = checkpointPath(options)
            if (path === '') return { descriptors: (await checkpoints.store(ctx, container, dump)).map(toWireDescriptor) }
            await dump(path)
            return { descriptors: [] }
          },
          async update(ctx, { containerId, resources, annotations }) {
            await containerOf(ctx, containerId)
            await runtime.update(ctx, containerId, resources, annotations)
            return {}
          },
          async metrics(ctx, { filters }) {
            requireNamespace(ctx)
            return { metrics: await collectMetrics(runtime, ctx, filters) }
          },
          async wait(ctx, { containerId, execId }) {
            await containerOf(ctx, containerId)
            const { exitStatus, exitedAt } = await runtime.wait(ctx, containerId, execId)
            return { exitStatus, exitedAt }
          },
        }),
      ],
    }
  },
}

// What a client has to know by its code; anything else that a shim says leaves the state unknown.
const telling = ['NotFound', 'Unavailable', 'DeadlineExceeded']

async function stateOf(runtime: TaskRuntime, ctx: Context, containerId: string, execId: string): Promise<TaskState> {
  try {
    return await runtime.state(ctx, containerId, execId)
  } catch (error) {
    if (telling.includes(errorCode(error) ?? 'Unknown')) throw error
    ctx.log.warn('cannot tell the state of a process', { id: containerId, execId, error })
    const nowhere = { stdin: '', stdout: '', stderr: '', terminal: false }
    return { containerId, id: execId || containerId, pid: 0, status: 'unknown', exitStatus: 0, ...nowhere }
  }
}

/** Whether a task is there that has not been started. What cannot be told may be. */
async function isCreated(runtime: TaskRuntime, ctx: Context, id: string): Promise<boolean> {
  try {
    return (await runtime.state(ctx, id, '')).status === 'created'
  } catch (error) {
    return !isNotFound(error)
  }
}

register(tasksService)
