import {
  type Container,
  type ContainerStore,
  type Context,
  FailedPreconditionError,
  isNotFound,
  type Mount,
  type Snapshotter,
  type Stdio,
  type TaskRuntime,
  type TaskState,
} from '@containerd-ts/interface'
import { within } from '@containerd-ts/plugin'
import { restartCount, restartLabels } from './policy.js'

/** What it takes to start and stop tasks. */
export interface RestartDeps {
  readonly containers: Pick<ContainerStore, 'update'>
  readonly snapshotters: ReadonlyMap<string, Pick<Snapshotter, 'mounts'>>
  readonly runtime: Pick<TaskRuntime, 'create' | 'start' | 'kill' | 'wait' | 'delete'>
}

const killSignal = 9
// For a process to die that was killed.
const deathMs = 10_000

/** Starts a container's task again, in place of the one that is there, and counts it. */
export async function startAgain(
  deps: RestartDeps,
  ctx: Context,
  container: Container,
  task: TaskState | undefined,
): Promise<void> {
  const { containers, runtime } = deps
  const { id, spec } = container
  const { count } = restartLabels
  const labels = { ...container.labels, [count]: String(restartCount(container.labels) + 1) }
  await containers.update(ctx, { ...container, labels }, [`labels.${count}`])
  if (task !== undefined) await end(deps, ctx, task)
  await runtime.create(ctx, {
    containerId: id,
    ...(spec && { spec }),
    runtime: container.runtime.name,
    ...(container.runtime.options && { options: container.runtime.options }),
    rootfs: await rootfsOf(deps, ctx, container),
    checkpointPath: '',
    ...stdioOf(container),
  })
  try {
    await runtime.start(ctx, id, '')
  } catch (error) {
    await runtime.delete(ctx, id, '').catch(() => {})
    throw error
  }
}

/** Kills a task with all its processes, and removes it. */
export async function end({ runtime }: RestartDeps, ctx: Context, { containerId, status }: TaskState): Promise<void> {
  if (status !== 'stopped') {
    const exited = runtime.wait(ctx, containerId, '')
    // It may fail while the kill is under way, and is asked for only after that.
    exited.catch(() => {})
    try {
      await runtime.kill(ctx, containerId, '', killSignal, true)
    } catch (error) {
      // It has ended meanwhile.
      if (!isNotFound(error)) throw error
    }
    await within(exited, {
      timeoutMs: deathMs,
      signal: ctx.signal,
      what: `the death of container ${JSON.stringify(containerId)}`,
    })
  }
  await runtime.delete(ctx, containerId, '')
}

async function rootfsOf(
  { snapshotters }: RestartDeps,
  ctx: Context,
  { snapshotter, snapshotKey }: Container,
): Promise<readonly Mount[]> {
  if (snapshotKey === '') return []
  const backend = snapshotters.get(snapshotter)
  if (backend === undefined) throw new FailedPreconditionError(`snapshotter ${JSON.stringify(snapshotter)} is not loaded`)
  return backend.mounts(ctx, snapshotKey)
}

/** A terminal has one stream for both. */
function stdioOf({ labels, spec }: Container): Stdio {
  const uri = labels[restartLabels.logUri] ?? ''
  return { stdin: '', stdout: uri, stderr: uri, terminal: uri !== '' && spec !== undefined && hasTerminal(spec.value) }
}

function hasTerminal(spec: Uint8Array): boolean {
  const { process } = JSON.parse(Buffer.from(spec).toString()) as { process?: { terminal?: unknown } }
  return process?.terminal === true
}
