import { now } from '@containerd-ts/api'
import type { Metric } from '@containerd-ts/api/containerd/types/metrics'
import { parseFilters } from '@containerd-ts/filters'
import type { Context, TaskRuntime } from '@containerd-ts/interface'

/** The figures of all tasks that match; a task that cannot tell them is left out. */
export async function collectMetrics(runtime: TaskRuntime, ctx: Context, filters: readonly string[]): Promise<Metric[]> {
  const matches = parseFilters(filters)
  const tasks = (await runtime.list(ctx)).filter(({ containerId }) =>
    matches(([field]) => (field === 'id' ? containerId : field === 'namespace' ? ctx.namespace : undefined)),
  )
  const metrics = await Promise.all(
    tasks.map(async ({ containerId }): Promise<Metric[]> => {
      try {
        return [{ timestamp: now(), id: containerId, data: await runtime.stats(ctx, containerId) }]
      } catch (error) {
        ctx.log.warn('no metrics of task', { id: containerId, error })
        return []
      }
    }),
  )
  return metrics.flat()
}
