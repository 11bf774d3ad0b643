import type { MemoryStat, Metrics } from '@containerd-ts/api/io/containerd/cgroups/v2/metrics'
import { memoryMeanings, oomKills, pids, type Sample, samples } from './sample.js'

const memoryStat = memoryMeanings({
  fileMapped: 'file_mapped',
  fileDirty: 'file_dirty',
  fileWriteback: 'file_writeback',
  pgactivate: 'pgactivate',
  pgdeactivate: 'pgdeactivate',
  pgfault: 'pgfault',
  pgmajfault: 'pgmajfault',
  pglazyfree: 'pglazyfree',
  pgrefill: 'pgrefill',
  pglazyfreed: 'pglazyfreed',
  pgscan: 'pgscan',
  pgsteal: 'pgsteal',
  inactiveAnon: 'inactive_anon',
  activeAnon: 'active_anon',
  inactiveFile: 'inactive_file',
  activeFile: 'active_file',
  unevictable: 'unevictable',
  anon: 'anon',
  file: 'file',
  kernelStack: 'kernel_stack',
  slab: 'slab',
  sock: 'sock',
  shmem: 'shmem',
  anonThp: 'anon_thp',
  slabReclaimable: 'slab_reclaimable',
  slabUnreclaimable: 'slab_unreclaimable',
  workingsetRefault: 'workingset_refault',
  workingsetActivate: 'workingset_activate',
  workingsetNodereclaim: 'workingset_nodereclaim',
  thpFaultAlloc: 'thp_fault_alloc',
  thpCollapseAlloc: 'thp_collapse_alloc',
} satisfies Partial<Record<keyof MemoryStat, string>>)
const memoryUse = {
  usage: ['memory_usage_bytes', 'Memory: in use.'],
  usageLimit: ['memory_usage_limit_bytes', 'Memory: the limit.'],
  swapUsage: ['memory_swap_usage_bytes', 'Swap: in use.'],
  swapLimit: ['memory_swap_limit_bytes', 'Swap: the limit.'],
} as const
const cpuTimes = {
  usageUsec: ['cpu_usage_usec_microseconds', 'CPU time of the container.'],
  userUsec: ['cpu_user_usec_microseconds', 'CPU time of the container outside of the kernel.'],
  systemUsec: ['cpu_system_usec_microseconds', 'CPU time of the container in the kernel.'],
  nrPeriods: ['cpu_nr_periods_total', 'Periods in which a CPU quota was in force.'],
  nrThrottled: ['cpu_nr_throttled_total', 'Periods in which the CPU quota was used up.'],
  throttledUsec: ['cpu_throttled_usec_microseconds', 'Time in which the container waited for its next CPU quota.'],
} as const
const transfers = {
  rbytes: ['io_rbytes_bytes', 'Bytes that were read from a device.'],
  wbytes: ['io_wbytes_bytes', 'Bytes that were written to a device.'],
  rios: ['io_rios_total', 'Reads from a device.'],
  wios: ['io_wios_total', 'Writes to a device.'],
} as const

/** The figures of a task with cgroup version 2, named as containerd names them. */
export function samplesV2(metrics: Metrics): Sample[] {
  return [
    ...samples(metrics.cpu, cpuTimes),
    ...samples(metrics.pids, pids),
    ...(metrics.io?.usage ?? []).flatMap((device) => {
      const labels = { major: String(device.major), minor: String(device.minor) }
      return samples(device, transfers).map((sample) => ({ ...sample, labels }))
    }),
    ...samples(metrics.memory, { ...memoryUse, ...memoryStat }),
    ...samples(metrics.memoryEvents, { oomKill: oomKills }),
  ]
}
