import { readFileSync } from 'node:fs'
import type {
  BlkIOEntry,
  BlkIOStat,
  CPUStat,
  HugetlbStat,
  MemoryEntry,
  MemoryOomControl,
  MemoryStat,
  Metrics,
  PidsStat,
  RdmaEntry,
  RdmaStat,
} from '@containerd-ts/api/io/containerd/cgroups/v1/metrics'
import { hugePageSizes, parseCounters, parseNumber, readNumber, readText } from './group-files.js'

// USER_HZ, in which the kernel shows times to user space on every architecture that Node runs on.
const ticksPerSecond = 100n
const nanosPerTick = 1_000_000_000n / ticksPerSecond

/** Everything that version 1 tells of a group, by the directories of its controllers. */
export function readStatsV1(paths: ReadonlyMap<string, string>): Metrics {
  const memory = paths.get('memory')
  return {
    hugetlb: hugetlb(paths.get('hugetlb')),
    pids: pids(paths.get('pids')),
    cpu: cpu(paths.get('cpuacct'), paths.get('cpu')),
    memory: memoryStat(memory),
    blkio: blkio(paths.get('blkio')),
    rdma: rdma(paths.get('rdma')),
    network: [],
    cgroupStats: undefined,
    memoryOomControl: oomControl(memory),
  }
}

function hugetlb(dir: string | undefined): HugetlbStat[] {
  return hugePageSizes(dir, 'usage_in_bytes').map((pagesize) => ({
    pagesize,
    usage: readNumber(dir, `hugetlb.${pagesize}.usage_in_bytes`),
    max: readNumber(dir, `hugetlb.${pagesize}.max_usage_in_bytes`),
    failcnt: readNumber(dir, `hugetlb.${pagesize}.failcnt`),
  }))
}

function pids(dir: string | undefined): PidsStat | undefined {
  const current = readText(dir, 'pids.current')
  if (current === undefined) return undefined
  const limit = readText(dir, 'pids.max')?.trim()
  return { current: parseNumber(current), limit: limit === 'max' ? 0n : parseNumber(limit) }
}

function cpu(accounting: string | undefined, scheduling: string | undefined): CPUStat | undefined {
  const total = readText(accounting, 'cpuacct.usage')
  const throttling = readText(scheduling, 'cpu.stat')
  if (total === undefined && throttling === undefined) return undefined
  const times = parseCounters(readText(accounting, 'cpuacct.stat'))
  const periods = parseCounters(throttling)
  return {
    usage:
      total === undefined
        ? undefined
        : {
            total: parseNumber(total),
            kernel: times('system') * nanosPerTick,
            user: times('user') * nanosPerTick,
            perCpu: (readText(accounting, 'cpuacct.usage_percpu')?.trim() ?? '')
              .split(/\s+/)
              .filter((word) => word !== '')
              .map(parseNumber),
          },
    throttling:
      throttling === undefined
        ? undefined
        : { periods: periods('nr_periods'), throttledPeriods: periods('nr_throttled'), throttledTime: periods('throttled_time') },
  }
}

function memoryStat(dir: string | undefined): MemoryStat | undefined {
  const text = readText(dir, 'memory.stat')
  if (text === undefined) return undefined
  const of = parseCounters(text)
  return {
    cache: of('cache'),
    rss: of('rss'),
    rssHuge: of('rss_huge'),
    mappedFile: of('mapped_file'),
    dirty: of('dirty'),
    writeback: of('writeback'),
    pgPgIn: of('pgpgin'),
    pgPgOut: of('pgpgout'),
    pgFault: of('pgfault'),
    pgMajFault: of('pgmajfault'),
    inactiveAnon: of('inactive_anon'),
    activeAnon: of('active_anon'),
    inactiveFile: of('inactive_file'),
    activeFile: of('active_file'),
    unevictable: of('unevictable'),
    hierarchicalMemoryLimit: of('hierarchical_memory_limit'),
    hierarchicalSwapLimit: of('hierarchical_memsw_limit'),
    totalCache: of('total_cache'),
    totalRss: of('total_rss'),
    totalRssHuge: of('total_rss_huge'),
    totalMappedFile: of('total_mapped_file'),
    totalDirty: of('total_dirty'),
    totalWriteback: of('total_writeback'),
    totalPgPgIn: of('total_pgpgin'),
    totalPgPgOut: of('total_pgpgout'),
    totalPgFault: of('total_pgfault'),
    totalPgMajFault: of('total_pgmajfault'),
    totalInactiveAnon: of('total_inactive_anon'),
    totalActiveAnon: of('total_active_anon'),
    totalInactiveFile: of('total_inactive_file'),
    totalActiveFile: of('total_active_file'),
    totalUnevictable: of('total_unevictable'),
    usage: memoryEntry(dir, 'memory.'),
    swap: memoryEntry(dir, 'memory.memsw.'),
    kernel: memoryEntry(dir, 'memory.kmem.'),
    kernelTcp: memoryEntry(dir, 'memory.kmem.tcp.'),
  }
}

function memoryEntry(dir: string | undefined, prefix: string): MemoryEntry | undefined {
  const usage = readText(dir, `${prefix}usage_in_bytes`)
  if (usage === undefined) return undefined
  return {
    usage: parseNumber(usage),
    limit: readNumber(dir, `${prefix}limit_in_bytes`),
    max: readNumber(dir, `${prefix}max_usage_in_bytes`),
    failcnt: readNumber(dir, `${prefix}failcnt`),
  }
}

function oomControl(dir: string | undefined): MemoryOomControl | undefined {
  const text = readText(dir, 'memory.oom_control')
  if (text === undefined) return undefined
  const of = parseCounters(text)
  return { oomKillDisable: of('oom_kill_disable'), underOom: of('under_oom'), oomKill: of('oom_kill') }
}

function blkio(dir: string | undefined): BlkIOStat | undefined {
  if (dir === undefined) return undefined
  const names = deviceNames()
  const read = (file: string) => blkioEntries(readText(dir, `blkio.${file}`) ?? '', names)
  const none: BlkIOEntry[] = []
  const serviced = read('io_serviced_recursive')
  if (serviced.length === 0) {
    return {
      ioServiceBytesRecursive: read('throttle.io_service_bytes'),
      ioServicedRecursive: read('throttle.io_serviced'),
      ioQueuedRecursive: none,
      ioServiceTimeRecursive: none,
      ioWaitTimeRecursive: none,
      ioMergedRecursive: none,
      ioTimeRecursive: none,
      sectorsRecursive: none,
    }
  }
  return {
    ioServiceBytesRecursive: read('io_service_bytes_recursive'),
    ioServicedRecursive: serviced,
    ioQueuedRecursive: read('io_queued_recursive'),
    ioServiceTimeRecursive: read('io_service_time_recursive'),
    ioWaitTimeRecursive: read('io_wait_time_recursive'),
    ioMergedRecursive: read('io_merged_recursive'),
    ioTimeRecursive: read('time_recursive'),
    sectorsRecursive: read('sectors_recursive'),
  }
}

/** Lines are `8:0 Read 4096` or `8:0 4096`; a total over all devices has no device and is left out. */
function blkioEntries(text: string, names: ReadonlyMap<string, string>): BlkIOEntry[] {
  return text.split('\n').flatMap((line) => {
    const match = /^(\d+):(\d+) (?:(\w+) )?(\d+)$/.exec(line)
    if (match === null) return []
    const [, major = '', minor = '', op = '', value = ''] = match
    const device = names.get(`${major}:${minor}`) ?? ''
    return [{ op, device, major: BigInt(major), minor: BigInt(minor), value: BigInt(value) }]
  })
}

function deviceNames(): Map<string, string> {
  const names = new Map<string, string>()
  try {
    for (const line of readFileSync('/proc/partitions', 'utf8').split('\n')) {
      const match = /^\s*(\d+)\s+(\d+)\s+\d+\s+(\S+)$/.exec(line)
      if (match !== null) names.set(`${match[1]}:${match[2]}`, `/dev/${match[3]}`)
    }
  } catch {
    // Numbers alone are enough.
  }
  return names
}

function rdma(dir: string | undefined): RdmaStat | undefined {
  const current = readText(dir, 'rdma.current')
  if (current === undefined) return undefined
  return { current: rdmaEntries(current), limit: rdmaEntries(readText(dir, 'rdma.max') ?? '') }
}

/** Lines are `mlx4_0 hca_handle=2 hca_object=max`. Both versions have the same file and message. */
export function rdmaEntries(text: string): RdmaEntry[] {
  return text.split('\n').flatMap((line) => {
    const match = /^(\S+) hca_handle=(\d+|max) hca_object=(\d+|max)$/.exec(line)
    if (match === null) return []
    const number = (word: string | undefined) => (word === 'max' ? 0xffff_ffff : Number(word))
    return [{ device: match[1] ?? '', hcaHandles: number(match[2]), hcaObjects: number(match[3]) }]
  })
}
