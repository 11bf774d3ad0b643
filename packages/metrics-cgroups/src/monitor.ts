import { typeName } from '@containerd-ts/api'
import { Metrics as MetricsV1 } from '@containerd-ts/api/io/containerd/cgroups/v1/metrics'
import { Metrics as MetricsV2 } from '@containerd-ts/api/io/containerd/cgroups/v2/metrics'
import type { Any, DebugSource, MetricsSource, MonitoredTask, TaskMonitor } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import { exposition, type TaskSamples } from './exposition.js'
import type { Sample } from './sample.js'
import { samplesV1 } from './v1.js'
import { samplesV2 } from './v2.js'

// One silent shim must not hold up the figures of all others.
const timeoutMs = 2000

/** Keeps the tasks that run; asks their shims for figures when somebody wants to see them. */
export function createMonitor(log: Logger): TaskMonitor & MetricsSource & DebugSource {
  const tasks = new Map<string, MonitoredTask>()
  const keyOf = (namespace: string, id: string) => `${namespace}/${id}`

  async function figures(task: MonitoredTask): Promise<TaskSamples[]> {
    try {
      const stats = await task.stats(AbortSignal.timeout(timeoutMs))
      const runtime: Readonly<Record<string, string>> = task.runtime === '' ? {} : { runtime: task.runtime }
      return [{ labels: { container_id: task.id, namespace: task.namespace, ...runtime }, samples: samplesOf(stats) }]
    } catch (error) {
      log.debug('no figures of task', { namespace: task.namespace, id: task.id, error })
      return []
    }
  }

  return {
    add: (task) => void tasks.set(keyOf(task.namespace, task.id), task),
    remove: (namespace, id) => void tasks.delete(keyOf(namespace, id)),
    debugVars: () => ({ tasks: tasks.size }),
    prometheus: async () => exposition((await Promise.all([...tasks.values()].map(figures))).flat()),
  }
}

function samplesOf({ typeUrl, value }: Any): readonly Sample[] {
  switch (typeName(typeUrl)) {
    case 'io.containerd.cgroups.v1.Metrics':
      return samplesV1(MetricsV1.decode(value))
    case 'io.containerd.cgroups.v2.Metrics':
      return samplesV2(MetricsV2.decode(value))
    default:
      return []
  }
}
