import { type Any, type Handlers, packAny } from '@containerd-ts/api'
import {
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from '@containerd-ts/api/containerd/events/task'
import { ProcessDetails } from '@containerd-ts/api/containerd/runc/v1/options'
import type { StateResponse, TaskDefinition } from '@containerd-ts/api/containerd/task/v3/task'
import { Status } from '@containerd-ts/api/containerd/v1/types/task'
import { AlreadyExistsError, NotFoundError } from '@containerd-ts/interface'
import { Container, type ContainerDeps, type ContainerEvents, type ContainerState, type Kept } from './container.js'
import type { ExecProcess, ExecState } from './exec-process.js'
import { readTaskRecord } from './process-record.js'
import type { Publisher } from './publisher.js'
import { version } from './version.js'

export interface TaskServiceDeps extends Omit<ContainerDeps, 'events'> {
  publisher: Publisher
  /** Called when containerd asks the shim to end and no container is left. */
  onShutdown(): void
  /** Called when the last container has been deleted. */
  onIdle(): void
  /** Called when a process has been deleted. */
  onDeleted(): void
}

/** The context of a call. */
export interface ShimContext {
  readonly signal: AbortSignal
}

export interface TaskService {
  readonly handlers: Handlers<typeof TaskDefinition, ShimContext>
  /** How many containers there are, those being created included. */
  readonly size: number
  /** How many containers and further processes are known. */
  counts(): { containers: number; creating: number; execs: number }
  /** The bundles of all containers. */
  bundles(): Iterable<string>
  /** Takes over the container of a bundle from a shim that is gone; nothing happens when there is none. */
  adopt(bundle: string, id: string, kept: Kept): void
}

/** The Task service of a shim; versions 2 and 3 have the same messages. */
export function createTaskService(deps: TaskServiceDeps): TaskService {
  const containers = new Map<string, Container>()
  const creating = new Set<string>()
  const { publisher } = deps
  const containerDeps: ContainerDeps = { ...deps, events: events(publisher) }

  const find = (id: string): Container => {
    const container = containers.get(id)
    if (container === undefined) throw new NotFoundError('container not created')
    return container
  }

  const handlers: Handlers<typeof TaskDefinition, ShimContext> = {
    create: async (_ctx, request) => {
      if (containers.has(request.id) || creating.has(request.id)) throw new AlreadyExistsError(`container ${request.id}`)
      creating.add(request.id)
      try {
        const container = await Container.create(request, containerDeps)
        containers.set(request.id, container)
        return { pid: container.pid }
      } finally {
        creating.delete(request.id)
        if (containers.size === 0 && creating.size === 0) deps.onIdle()
      }
    },
    start: async (_ctx, { id, execId }) => {
      const container = find(id)
      return { pid: execId === '' ? await container.start() : await container.exec(execId).start() }
    },
    delete: async (_ctx, { id, execId }) => {
      const container = find(id)
      if (execId !== '') {
        const exec = await container.deleteExec(execId)
        deps.onDeleted()
        return { pid: exec.pid, exitStatus: exec.exit.status, exitedAt: exec.exit.at }
      }
      await container.delete()
      containers.delete(id)
      deps.onDeleted()
      if (containers.size === 0 && creating.size === 0) deps.onIdle()
      return { pid: container.pid, exitStatus: container.exit.status, exitedAt: container.exit.at }
    },
    state: async (_ctx, { id, execId }) => {
      const container = find(id)
      return execId === '' ? containerState(container) : execState(container, container.exec(execId))
    },
    pids: async (_ctx, { id }) => {
      const container = find(id)
      const execs = new Map(
        [...container.execs.values()].filter((exec) => exec.state === 'running').map((exec) => [exec.pid, exec.id]),
      )
      const pids = await container.pids()
      return { processes: pids.map((pid) => ({ pid, info: detailsOf(execs.get(pid)) })) }
    },
    pause: async (_ctx, { id }) => {
      await find(id).pause()
      return {}
    },
    resume: async (_ctx, { id }) => {
      await find(id).resume()
      return {}
    },
    checkpoint: async (_ctx, { id, path, options }) => {
      await find(id).checkpoint(path, options)
      return {}
    },
    kill: async (_ctx, { id, execId, signal, all }) => {
      const container = find(id)
      if (execId === '') await container.kill(signal, all)
      else container.exec(execId).kill(signal)
      return {}
    },
    exec: async (_ctx, { id, execId, ...request }) => {
      find(id).addExec({ id: execId, ...request })
      publisher.publish('/tasks/exec-added', 'containerd.events.TaskExecAdded', TaskExecAdded, { containerId: id, execId })
      return {}
    },
    resizePty: async (_ctx, { id, execId, width, height }) => {
      const container = find(id)
      if (execId === '') container.resize({ columns: width, rows: height })
      else container.exec(execId).resize(width, height)
      return {}
    },
    closeIO: async (_ctx, { id, execId, stdin }) => {
      const container = find(id)
      const process = execId === '' ? container : container.exec(execId)
      if (stdin) process.closeStdin()
      return {}
    },
    update: async (_ctx, { id, resources }) => {
      await find(id).update(resources)
      return {}
    },
    wait: async (_ctx, { id, execId }) => {
      const container = find(id)
      const process = execId === '' ? container : container.exec(execId)
      await process.done
      return { exitStatus: process.exit.status, exitedAt: process.exit.at }
    },
    stats: async (_ctx, { id }) => ({ stats: await find(id).stats() }),
    connect: async (_ctx, { id }) => ({ shimPid: process.pid, taskPid: containers.get(id)?.pid ?? 0, version }),
    shutdown: async () => {
      if (containers.size === 0 && creating.size === 0) deps.onShutdown()
      return {}
    },
  }
  return {
    handlers,
    adopt: (bundle, id, kept) => {
      const record = readTaskRecord(bundle)
      if (record === undefined || record.pid === 0 || containers.has(id)) return
      containers.set(id, Container.adopt(bundle, id, record, kept, containerDeps))
    },
    get size() {
      return containers.size + creating.size
    },
    counts: () => ({
      containers: containers.size,
      creating: creating.size,
      execs: [...containers.values()].reduce((sum, { execs }) => sum + execs.size, 0),
    }),
    *bundles() {
      for (const { bundle } of containers.values()) yield bundle
    },
  }
}

function events(publisher: Publisher): ContainerEvents {
  return {
    created: ({ id, bundle, pid, request }) => {
      const { stdin, stdout, stderr, terminal, rootfs, checkpoint } = request
      const io = { stdin, stdout, stderr, terminal }
      publisher.publish('/tasks/create', 'containerd.events.TaskCreate', TaskCreate, {
        containerId: id,
        bundle,
        rootfs,
        io,
        checkpoint,
        pid,
      })
    },
    started: ({ id, pid }) =>
      publisher.publish('/tasks/start', 'containerd.events.TaskStart', TaskStart, { containerId: id, pid }),
    execStarted: ({ id }, exec) => {
      const event = { containerId: id, execId: exec.id, pid: exec.pid }
      publisher.publish('/tasks/exec-started', 'containerd.events.TaskExecStarted', TaskExecStarted, event)
    },
    execExited: ({ id }, { id: execId, pid, exit }) => publishExit(publisher, id, execId, pid, exit),
    exited: ({ id, pid, exit }) => publishExit(publisher, id, id, pid, exit),
    oom: ({ id }) => publisher.publish('/tasks/oom', 'containerd.events.TaskOOM', TaskOOM, { containerId: id }),
    paused: ({ id }) => publisher.publish('/tasks/paused', 'containerd.events.TaskPaused', TaskPaused, { containerId: id }),
    resumed: ({ id }) => publisher.publish('/tasks/resumed', 'containerd.events.TaskResumed', TaskResumed, { containerId: id }),
    deleted: ({ id, pid, exit }) => {
      const event = { containerId: id, id: '', pid, exitStatus: exit.status, exitedAt: exit.at }
      publisher.publish('/tasks/delete', 'containerd.events.TaskDelete', TaskDelete, event)
    },
  }
}

function publishExit(publisher: Publisher, containerId: string, id: string, pid: number, exit: Container['exit']): void {
  const event = { containerId, id, pid, exitStatus: exit.status, exitedAt: exit.at }
  publisher.publish('/tasks/exit', 'containerd.events.TaskExit', TaskExit, event)
}

function detailsOf(execId: string | undefined): Any | undefined {
  return execId === undefined ? undefined : packAny('containerd.runc.v1.ProcessDetails', ProcessDetails, { execId })
}

const containerStatus: Readonly<Record<ContainerState, Status>> = {
  created: Status.CREATED,
  running: Status.RUNNING,
  paused: Status.PAUSED,
  stopped: Status.STOPPED,
  deleted: Status.STOPPED,
}
const execStatus: Readonly<Record<ExecState, Status>> = {
  created: Status.CREATED,
  running: Status.RUNNING,
  stopped: Status.STOPPED,
  deleted: Status.STOPPED,
}

function containerState(container: Container): StateResponse {
  const { stdin, stdout, stderr, terminal } = container.request
  return {
    id: container.id,
    bundle: container.bundle,
    pid: container.pid,
    status: containerStatus[container.state],
    stdin,
    stdout,
    stderr,
    terminal,
    exitStatus: container.exit.status,
    exitedAt: container.exit.at,
    execId: '',
  }
}

function execState(container: Container, exec: ExecProcess): StateResponse {
  const { stdin, stdout, stderr, terminal } = exec.request
  const paused = exec.state === 'running' && container.state === 'paused'
  return {
    id: exec.id,
    bundle: container.bundle,
    pid: exec.pid,
    status: paused ? Status.PAUSED : execStatus[exec.state],
    stdin,
    stdout,
    stderr,
    terminal,
    exitStatus: exec.exit.status,
    exitedAt: exec.exit.at,
    execId: exec.id,
  }
}
