/** Decides when garbage is collected: `io.containerd.gc.v1.scheduler`. */
import { durationMs, formatDuration, integer, number, PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createScheduler } from './scheduler.js'

export { createScheduler, type SchedulerOptions } from './scheduler.js'

interface SchedulerConfig {
  pause_threshold: number
  deletion_threshold: number
  mutation_threshold: number
  schedule_delay: number
  startup_delay: number
}

/** The plugin `io.containerd.gc.v1.scheduler`. */
export const gcScheduler: Registration<typeof PluginType.GC, SchedulerConfig> = {
  type: PluginType.GC,
  id: 'scheduler',
  requires: [PluginType.Metadata],
  config: {
    pause_threshold: number({ default: 0.02, doc: 'Share of time that collections may hold writers, 0 to 0.5.' }),
    deletion_threshold: integer({
      default: 0,
      min: 0,
      doc: 'Deletions after which a collection is scheduled at once; 0 for none.',
    }),
    mutation_threshold: integer({ default: 100, min: 0, doc: 'Writes after which a collection runs at the next interval.' }),
    schedule_delay: durationMs({ default: 0, doc: 'Delay between a trigger and its collection.' }),
    startup_delay: durationMs({ default: 100, doc: 'Delay between the start and the first collection; 0 for none.' }),
  },
  init({ config, meta, log, get }) {
    Object.assign(meta.exports, {
      PauseThreshold: String(config.pause_threshold),
      DeletionThreshold: String(config.deletion_threshold),
      MutationThreshold: String(config.mutation_threshold),
      ScheduleDelay: formatDuration(config.schedule_delay),
    })
    const options = {
      pauseThreshold: config.pause_threshold,
      deletionThreshold: config.deletion_threshold,
      mutationThreshold: config.mutation_threshold,
      scheduleDelayMs: config.schedule_delay,
      startupDelayMs: config.startup_delay,
    }
    return createScheduler(get(PluginType.Metadata), options, log)
  },
}

register(gcScheduler)
