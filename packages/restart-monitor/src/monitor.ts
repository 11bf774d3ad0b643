import { setTimeout as delay } from 'node:timers/promises'
import { timestampMs } from '@containerd-ts/api'
import {
  background,
  type Container,
  type Context,
  isNotFound,
  type MetadataStore,
  type TaskRuntime,
  type TaskState,
} from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import { changeFor, restartLabels } from './policy.js'
import { end, type RestartDeps, startAgain } from './restart.js'

/** What a monitor works with. */
export interface RestartMonitorOptions {
  metadata: Pick<MetadataStore, 'namespaces' | 'containers' | 'snapshotters'>
  runtime: RestartDeps['runtime'] & Pick<TaskRuntime, 'state'>
  log: Logger
  /** Time between two looks at the containers. */
  intervalMs: number
}

/** A monitor that looks at the containers until it is closed. */
export interface RestartMonitor {
  /** Looks no further, and waits for what is under way. */
  close(): Promise<void>
}

// A client makes the container, then its task, and then starts that. It is left to do so.
const clientMs = 5000

/** Has the tasks of containers with {@link restartLabels} be as these say, from now on. One container that resists keeps no other. */
export function createRestartMonitor({ metadata, runtime, log, intervalMs }: RestartMonitorOptions): RestartMonitor {
  const { namespaces, containers, snapshotters } = metadata
  const deps: RestartDeps = { containers, snapshotters, runtime }
  const closing = new AbortController()
  const { signal } = closing
  /** What is under way, by namespace and container. */
  const busy = new Map<string, Promise<void>>()

  const watching = watch()

  async function watch(): Promise<void> {
    while (!signal.aborted) {
      try {
        await look()
      } catch (error) {
        if (!signal.aborted) log.warn('cannot look for containers to restart', { error })
      }
      await delay(intervalMs, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  async function look(): Promise<void> {
    const all = background('', { signal, log })
    for (const { name } of await namespaces.list(all)) {
      const ctx = { ...all, namespace: name }
      for await (const container of containers.list(ctx, [`labels.${JSON.stringify(restartLabels.status)}`])) {
        const key = `${name}/${container.id}`
        if (signal.aborted) return
        if (!busy.has(key))
          busy.set(
            key,
            settle(ctx, container).finally(() => busy.delete(key)),
          )
      }
    }
  }

  async function settle(ctx: Context, container: Container): Promise<void> {
    const fields = { namespace: ctx.namespace, container: container.id }
    try {
      const task = await taskOf(ctx, container.id)
      const change = changeFor(container.labels, task)
      if (change === 'stop' && task !== undefined) {
        log.info('stopping a container', fields)
        await end(deps, ctx, task)
      } else if (change === 'start' && !isBeingStarted(container, task)) {
        log.info('restarting a container', { ...fields, exitStatus: task?.exitStatus })
        await startAgain(deps, ctx, container, task)
      }
    } catch (error) {
      if (!signal.aborted) log.warn('cannot have a container as its labels say', { ...fields, error })
    }
  }

  async function taskOf(ctx: Context, id: string): Promise<TaskState | undefined> {
    try {
      return await runtime.state(ctx, id, '')
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  return {
    async close() {
      closing.abort()
      await watching
      await Promise.all(busy.values())
    },
  }
}

function isBeingStarted({ updatedAt }: Container, task: TaskState | undefined): boolean {
  return (task === undefined || task.status === 'created') && Date.now() - timestampMs(updatedAt) < clientMs
}
