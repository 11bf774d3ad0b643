import type { BlkIOEntry, MemoryEntry, MemoryStat, Metrics } from '@containerd-ts/api/io/containerd/cgroups/v1/metrics'
import { type Sample, samples } from './sample.js'

const memoryNames: Readonly<Partial<Record<keyof MemoryStat, string>>> = {
  cache: 'cache',
  rss: 'rss',
  rssHuge: 'rss_huge',
  mappedFile: 'mapped_file',
  dirty: 'dirty',
  writeback: 'writeback',
  pgPgIn: 'pgpgin',
  pgPgOut: 'pgpgout',
  pgFault: 'pgfault',
  pgMajFault: 'pgmajfault',
  inactiveAnon: 'inactive_anon',
  activeAnon: 'active_anon',
  inactiveFile: 'inactive_file',
  activeFile: 'active_file',
  unevictable: 'unevictable',
  hierarchicalMemoryLimit: 'hierarchical_memory_limit',
  hierarchicalSwapLimit: 'hierarchical_memsw_limit',
  totalCache: 'total_cache',
  totalRss: 'total_rss',
  totalRssHuge: 'total_rss_huge',
  totalMappedFile: 'total_mapped_file',
  totalDirty: 'total_dirty',
  totalWriteback: 'total_writeback',
  totalPgPgIn: 'total_pgpgin',
  totalPgPgOut: 'total_pgpgout',
  totalPgFault: 'total_pgfault',
  totalPgMajFault: 'total_pgmajfault',
  totalInactiveAnon: 'total_inactive_anon',
  totalActiveAnon: 'total_active_anon',
  totalInactiveFile: 'total_inactive_file',
  totalActiveFile: 'total_active_file',
  totalUnevictable: 'total_unevictable',
}

/** The figures of a task with cgroup version 1, named as containerd names them. */
export function samplesV1(metrics: Metrics): Sample[] {
  const { cpu, pids, memory, blkio, hugetlb, memoryOomControl } = metrics
  return [
    ...samples(cpu?.usage, { total: 'cpu_total_nanoseconds', kernel: 'cpu_kernel_nanoseconds', user: 'cpu_user_nanoseconds' }),
    ...(cpu?.usage?.perCpu ?? []).map((value, index) => ({ name: 'per_cpu_nanoseconds', value, labels: { cpu: String(index) } })),
    ...samples(cpu?.throttling, {
      periods: 'cpu_throttle_periods_total',
      throttledPeriods: 'cpu_throttled_periods_total',
      throttledTime: 'cpu_throttled_time_nanoseconds',
    }),
    ...samples(pids, { limit: 'pids_limit', current: 'pids_current' }),
    ...hugetlb.flatMap(({ pagesize: page, ...stat }) =>
      samples(stat, { usage: 'hugetlb_usage_bytes', failcnt: 'hugetlb_failcnt_total', max: 'hugetlb_max_bytes' }).map((s) => ({
        ...s,
        labels: { page },
      })),
    ),
    ...samples(memory, memoryNames).map((s) => ({ ...s, name: `memory_${s.name}_bytes` })),
    ...limits('memory_usage', memory?.usage),
    ...limits('memory_swap', memory?.swap),
    ...limits('memory_kernel', memory?.kernel),
    ...limits('memory_kerneltcp', memory?.kernelTcp),
    ...blocks('blkio_io_merged_recursive_total', blkio?.ioMergedRecursive),
    ...blocks('blkio_io_queued_recursive_total', blkio?.ioQueuedRecursive),
    ...blocks('blkio_io_service_bytes_recursive_bytes', blkio?.ioServiceBytesRecursive),
    ...blocks('blkio_io_service_time_recursive_total', blkio?.ioServiceTimeRecursive),
    ...blocks('blkio_io_serviced_recursive_total', blkio?.ioServicedRecursive),
    ...blocks('blkio_io_time_recursive_total', blkio?.ioTimeRecursive),
    ...blocks('blkio_sectors_recursive_total', blkio?.sectorsRecursive),
    ...samples(memoryOomControl, { oomKill: 'memory_oom_total' }),
  ]
}

function limits(name: string, entry: MemoryEntry | undefined): Sample[] {
  return samples(entry, {
    failcnt: `${name}_failcnt_total`,
    limit: `${name}_limit_bytes`,
    max: `${name}_max_bytes`,
    usage: `${name}_usage_bytes`,
  })
}

function blocks(name: string, entries: readonly BlkIOEntry[] = []): Sample[] {
  return entries.map(({ op, device, major, minor, value }) => ({
    name,
    value,
    labels: { op, device, major: String(major), minor: String(minor) },
  }))
}
