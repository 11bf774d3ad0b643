import type { BlkIOEntry, MemoryEntry, MemoryStat, Metrics } from '@containerd-ts/api/io/containerd/cgroups/v1/metrics'
import { memoryMeanings, oomKills, pids, type Sample, samples } from './sample.js'

const memory = memoryMeanings<Exclude<keyof MemoryStat, 'usage' | 'swap' | 'kernel' | 'kernelTcp'>>({
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
})

const cpuTimes = {
  total: ['cpu_total_nanoseconds', 'CPU time of the container.'],
  kernel: ['cpu_kernel_nanoseconds', 'CPU time of the container in the kernel.'],
  user: ['cpu_user_nanoseconds', 'CPU time of the container outside of the kernel.'],
} as const
const throttling = {
  periods: ['cpu_throttle_periods_total', 'Periods in which a CPU quota was in force.'],
  throttledPeriods: ['cpu_throttled_periods_total', 'Periods in which the CPU quota was used up.'],
  throttledTime: ['cpu_throttled_time_nanoseconds', 'Time in which the container waited for its next CPU quota.'],
} as const
const hugePages = {
  usage: ['hugetlb_usage_bytes', 'Huge pages in use.'],
  failcnt: ['hugetlb_failcnt_total', 'How often the limit of huge pages was hit.'],
  max: ['hugetlb_max_bytes', 'Most huge pages that were in use at once.'],
} as const

/** The figures of a task with cgroup version 1, named as containerd names them. */
export function samplesV1(metrics: Metrics): Sample[] {
  const { cpu, blkio } = metrics
  const perCpu = { name: 'per_cpu_nanoseconds', help: 'CPU time of the container on each processor.' }
  return [
    ...samples(cpu?.usage, cpuTimes),
    ...(cpu?.usage?.perCpu ?? []).map((value, index) => ({ ...perCpu, value, labels: { cpu: String(index) } })),
    ...samples(cpu?.throttling, throttling),
    ...samples(metrics.pids, pids),
    ...metrics.hugetlb.flatMap(({ pagesize: page, ...stat }) =>
      samples(stat, hugePages).map((sample) => ({ ...sample, labels: { page } })),
    ),
    ...samples(metrics.memory, memory),
    ...limits('memory_usage', 'Memory', metrics.memory?.usage),
    ...limits('memory_swap', 'Memory and swap', metrics.memory?.swap),
    ...limits('memory_kernel', 'Memory of the kernel', metrics.memory?.kernel),
    ...limits('memory_kerneltcp', 'Buffers of TCP', metrics.memory?.kernelTcp),
    ...blocks('blkio_io_merged_recursive_total', 'Requests to a device that were merged into others.', blkio?.ioMergedRecursive),
    ...blocks('blkio_io_queued_recursive_total', 'Requests that wait for a device.', blkio?.ioQueuedRecursive),
    ...blocks('blkio_io_service_bytes_recursive_bytes', 'Bytes to and from a device.', blkio?.ioServiceBytesRecursive),
    ...blocks(
      'blkio_io_service_time_recursive_total',
      'Nanoseconds that a device worked on requests.',
      blkio?.ioServiceTimeRecursive,
    ),
    ...blocks('blkio_io_serviced_recursive_total', 'Requests to a device.', blkio?.ioServicedRecursive),
    ...blocks('blkio_io_time_recursive_total', 'Milliseconds that a device was given to the container.', blkio?.ioTimeRecursive),
    ...blocks('blkio_sectors_recursive_total', 'Sectors to and from a device.', blkio?.sectorsRecursive),
    ...samples(metrics.memoryOomControl, { oomKill: oomKills }),
  ]
}

function limits(name: string, what: string, entry: MemoryEntry | undefined): Sample[] {
  return samples(entry, {
    failcnt: [`${name}_failcnt_total`, `${what}: how often the limit was hit.`],
    limit: [`${name}_limit_bytes`, `${what}: the limit.`],
    max: [`${name}_max_bytes`, `${what}: the most that was in use at once.`],
    usage: [`${name}_usage_bytes`, `${what}: in use.`],
  })
}

function blocks(name: string, help: string, entries: readonly BlkIOEntry[] = []): Sample[] {
  return entries.map(({ op, device, major, minor, value }) => ({
    name,
    help,
    value,
    labels: { op, device, major: String(major), minor: String(minor) },
  }))
}
