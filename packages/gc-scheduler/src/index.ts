/** The garbage collection scheduler, plugin `io.containerd.gc.v1.scheduler`. */
import { formatDuration, PluginType, type Registration, register } from '@containerd-ts/plugin'
import { type SchedulerConfig, schedulerConfig } from './config.js'
import { createScheduler } from './scheduler.js'

export type { SchedulerConfig } from './config.js'
export { createScheduler, type SchedulerOptions } from './scheduler.js'

export const gcScheduler: Registration<typeof PluginType.GC, SchedulerConfig> = {
  type: PluginType.GC,
  id: 'scheduler',
  requires: [PluginType.Metadata],
  config: schedulerConfig,
  init(ic) {
    const { config, meta, log } = ic
    meta.exports['PauseThreshold'] = String(config.pause_threshold)
    meta.exports['DeletionThreshold'] = String(config.deletion_threshold)
    meta.exports['MutationThreshold'] = String(config.mutation_threshold)
    meta.exports['ScheduleDelay'] = formatDuration(config.schedule_delay)
    return createScheduler({
      metadata: ic.get(PluginType.Metadata),
      pauseThreshold: config.pause_threshold,
      deletionThreshold: config.deletion_threshold,
      mutationThreshold: config.mutation_threshold,
      scheduleDelayMs: config.schedule_delay,
      startupDelayMs: config.startup_delay,
      log,
    })
  },
}

register(gcScheduler)
