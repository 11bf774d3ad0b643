import { type ConfigSchema, durationMs, integer, number } from '@containerd-ts/plugin'

export interface SchedulerConfig {
  pause_threshold: number
  deletion_threshold: number
  mutation_threshold: number
  schedule_delay: number
  startup_delay: number
}

export const schedulerConfig: ConfigSchema<SchedulerConfig> = {
  pause_threshold: number({
    default: 0.02,
    doc: 'Share of the time that collections may take, at most 0.5; 0 collects once a second.',
  }),
  deletion_threshold: integer({ default: 0, doc: 'Deletions after which a collection is scheduled at once; 0 for never.' }),
  mutation_threshold: integer({
    default: 100,
    doc: 'Changes after which a collection runs at its next turn though nothing was deleted.',
  }),
  schedule_delay: durationMs({ default: 0, doc: 'Time between what causes a collection and the collection.' }),
  startup_delay: durationMs({ default: 100, doc: 'Time after the start until the first collection; 0 for none.' }),
}
