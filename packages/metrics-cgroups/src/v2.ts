import type { MemoryStat, Metrics } from '@containerd-ts/api/io/containerd/cgroups/v2/metrics'
import { type Sample, samples } from './sample.js'

const memoryNames: Readonly<Partial<Record<keyof MemoryStat, string>>> = {
  usage: 'usage',
  usageLimit: 'usage_limit',
  swapUsage: 'swap_usage',
  swapLimit: 'swap_limit',
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
}

/** The figures of a task with cgroup version 2, named as containerd names them. */
export function samplesV2({ cpu, pids, io, memory, memoryEvents }: Metrics): Sample[] {
  return [
    ...samples(cpu, {
      usageUsec: 'cpu_usage_usec_microseconds',
      userUsec: 'cpu_user_usec_microseconds',
      systemUsec: 'cpu_system_usec_microseconds',
      nrPeriods: 'cpu_nr_periods_total',
      nrThrottled: 'cpu_nr_throttled_total',
      throttledUsec: 'cpu_throttled_usec_microseconds',
    }),
    ...samples(pids, { limit: 'pids_limit', current: 'pids_current' }),
    ...(io?.usage ?? []).flatMap((device) => {
      const labels = { major: String(device.major), minor: String(device.minor) }
      return samples(device, {
        rbytes: 'io_rbytes_bytes',
        wbytes: 'io_wbytes_bytes',
        rios: 'io_rios_total',
        wios: 'io_wios_total',
      }).map((s) => ({ ...s, labels }))
    }),
    ...samples(memory, memoryNames).map((s) => ({ ...s, name: `memory_${s.name}_bytes` })),
    ...samples(memoryEvents, { oomKill: 'memory_oom_total' }),
  ]
}
