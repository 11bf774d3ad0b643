import type {
  HugeTlbStat,
  IOEntry,
  MemoryEvents,
  MemoryStat,
  Metrics,
  PSIData,
  PSIStats,
} from '@containerd-ts/api/io/containerd/cgroups/v2/metrics'
import { hugePageSizes, parseCounters, parseNumber, readNumber, readText } from './group-files.js'
import { rdmaEntries } from './stats-v1.js'

/** Everything that version 2 tells of a group, by its directory. */
export function readStatsV2(dir: string): Metrics {
  const cpu = parseCounters(readText(dir, 'cpu.stat'))
  return {
    pids: { current: readNumber(dir, 'pids.current'), limit: readNumber(dir, 'pids.max') },
    cpu: {
      usageUsec: cpu('usage_usec'),
      userUsec: cpu('user_usec'),
      systemUsec: cpu('system_usec'),
      nrPeriods: cpu('nr_periods'),
      nrThrottled: cpu('nr_throttled'),
      throttledUsec: cpu('throttled_usec'),
      psi: pressure(readText(dir, 'cpu.pressure')),
      nrBursts: cpu('nr_bursts'),
      burstUsec: cpu('burst_usec'),
    },
    memory: memoryStat(dir),
    rdma: { current: rdmaEntries(readText(dir, 'rdma.current') ?? ''), limit: rdmaEntries(readText(dir, 'rdma.max') ?? '') },
    io: { usage: ioEntries(readText(dir, 'io.stat') ?? ''), psi: pressure(readText(dir, 'io.pressure')) },
    hugetlb: hugetlb(dir),
    memoryEvents: memoryEvents(readText(dir, 'memory.events')),
    network: [],
  }
}

function memoryStat(dir: string): MemoryStat {
  const of = parseCounters(readText(dir, 'memory.stat'))
  return {
    anon: of('anon'),
    file: of('file'),
    kernelStack: of('kernel_stack'),
    slab: of('slab'),
    sock: of('sock'),
    shmem: of('shmem'),
    fileMapped: of('file_mapped'),
    fileDirty: of('file_dirty'),
    fileWriteback: of('file_writeback'),
    anonThp: of('anon_thp'),
    inactiveAnon: of('inactive_anon'),
    activeAnon: of('active_anon'),
    inactiveFile: of('inactive_file'),
    activeFile: of('active_file'),
    unevictable: of('unevictable'),
    slabReclaimable: of('slab_reclaimable'),
    slabUnreclaimable: of('slab_unreclaimable'),
    pgfault: of('pgfault'),
    pgmajfault: of('pgmajfault'),
    workingsetRefault: of('workingset_refault'),
    workingsetActivate: of('workingset_activate'),
    workingsetNodereclaim: of('workingset_nodereclaim'),
    pgrefill: of('pgrefill'),
    pgscan: of('pgscan'),
    pgsteal: of('pgsteal'),
    pgactivate: of('pgactivate'),
    pgdeactivate: of('pgdeactivate'),
    pglazyfree: of('pglazyfree'),
    pglazyfreed: of('pglazyfreed'),
    thpFaultAlloc: of('thp_fault_alloc'),
    thpCollapseAlloc: of('thp_collapse_alloc'),
    usage: readNumber(dir, 'memory.current'),
    usageLimit: readNumber(dir, 'memory.max'),
    swapUsage: readNumber(dir, 'memory.swap.current'),
    swapLimit: readNumber(dir, 'memory.swap.max'),
    maxUsage: readNumber(dir, 'memory.peak'),
    swapMaxUsage: readNumber(dir, 'memory.swap.peak'),
    psi: pressure(readText(dir, 'memory.pressure')),
  }
}

function memoryEvents(text: string | undefined): MemoryEvents | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const of = parseCounters(text)
  return {
    low: of('low'),
    high: of('high'),
    max: of('max'),
    oom: of('oom'),
    oomKill: of('oom_kill'),
    oomGroupKill: of('oom_group_kill'),
  }
}

/** Lines are `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. */
function ioEntries(text: string): IOEntry[] {
  return text.split('\n').flatMap((line) => {
    const [device = '', ...pairs] = line.split(' ')
    const match = /^(\d+):(\d+)$/.exec(device)
    if (match === null) return []
    const values = new Map(pairs.map((pair) => pair.split('=', 2) as [string, string]))
    const of = (key: string) => parseNumber(values.get(key))
    return [
      {
        major: parseNumber(match[1]),
        minor: parseNumber(match[2]),
        rbytes: of('rbytes'),
        wbytes: of('wbytes'),
        rios: of('rios'),
        wios: of('wios'),
      },
    ]
  })
}

function hugetlb(dir: string): HugeTlbStat[] {
  return hugePageSizes(dir, 'current').map((pagesize) => ({
    pagesize,
    current: readNumber(dir, `hugetlb.${pagesize}.current`),
    max: readNumber(dir, `hugetlb.${pagesize}.max`),
    failcnt: parseCounters(readText(dir, `hugetlb.${pagesize}.events`))('max'),
  }))
}

/** Lines are `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`. */
function pressure(text: string | undefined): PSIStats | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const data = (kind: string): PSIData | undefined => {
    const match = new RegExp(`^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)$`, 'm').exec(text)
    if (match === null) return undefined
    return { avg10: Number(match[1]), avg60: Number(match[2]), avg300: Number(match[3]), total: parseNumber(match[4]) }
  }
  return { some: data('some'), full: data('full') }
}
