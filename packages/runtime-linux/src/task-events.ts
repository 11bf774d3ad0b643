import { zeroTimestamp } from '@containerd-ts/api'
import { TaskExit, TaskPaused } from '@containerd-ts/api/containerd/events/task'
import { background, type Envelope, type EventExchange } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type { ProcessTable } from './process-table.js'

/** Brings what shims tell to what the daemon knows. Ends when `signal` is aborted. */
export function followEvents(
  events: Pick<EventExchange, 'subscribe'>,
  tableOf: (namespace: string, id: string) => ProcessTable | undefined,
  log: Logger,
  signal: AbortSignal,
): void {
  const topics = ['/tasks/paused', '/tasks/resumed', '/tasks/exit']
  const subscription = events.subscribe(
    background('', { signal, log }),
    topics.map((topic) => `topic=="${topic}"`),
  )
  const follow = async () => {
    for await (const envelope of subscription) {
      try {
        apply(envelope, tableOf)
      } catch (error) {
        log.warn('an event of a shim is not understood', { topic: envelope.topic, namespace: envelope.namespace, error })
      }
    }
  }
  // A subscriber that fell too far behind: the looks at the kernel find what it missed.
  follow().catch((error: unknown) => {
    log.error('the events of shims are lost', { error })
    if (!signal.aborted) followEvents(events, tableOf, log, signal)
  })
}

function apply(
  { namespace, topic, event }: Envelope,
  tableOf: (namespace: string, id: string) => ProcessTable | undefined,
): void {
  switch (topic) {
    case '/tasks/exit': {
      const { containerId, id, pid, exitStatus, exitedAt } = TaskExit.decode(event.value)
      const execId = id === containerId ? '' : id
      tableOf(namespace, containerId)?.exited(execId, { pid, exitStatus, exitedAt: exitedAt ?? zeroTimestamp })
      return
    }
    case '/tasks/paused':
    case '/tasks/resumed':
      tableOf(namespace, TaskPaused.decode(event.value).containerId)?.setPaused(topic === '/tasks/paused')
  }
}
