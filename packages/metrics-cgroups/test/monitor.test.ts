import { packAny } from '@containerd-ts/api'
import { Metrics as MetricsV1 } from '@containerd-ts/api/io/containerd/cgroups/v1/metrics'
import { Metrics as MetricsV2 } from '@containerd-ts/api/io/containerd/cgroups/v2/metrics'
import { silentLogger } from '@containerd-ts/plugin'
import { expect, test } from 'vitest'
import { createMonitor } from '../src/index.js'

const v1 = packAny(
  'io.containerd.cgroups.v1.Metrics',
  MetricsV1,
  MetricsV1.fromPartial({
    cpu: { usage: { total: 18_446_744_073_709_551_615n, perCpu: [1n, 2n] } },
    memory: { rssHuge: 5n, hierarchicalSwapLimit: 7n, usage: { usage: 9n, failcnt: 1n } },
    blkio: { ioServicedRecursive: [{ op: 'Read', device: '/dev/vda', major: 254n, minor: 0n, value: 3n }] },
    memoryOomControl: { oomKill: 2n },
  }),
)
const v2 = packAny(
  'io.containerd.cgroups.v2.Metrics',
  MetricsV2,
  MetricsV2.fromPartial({
    cpu: { usageUsec: 8n },
    memory: { usageLimit: 4n },
    io: { usage: [{ major: 8n, minor: 1n, rios: 6n }] },
  }),
)

test('figures of both cgroup versions are named as containerd names them', async () => {
  const monitor = createMonitor(silentLogger)
  monitor.add({ namespace: 'n', id: 'one', runtime: 'io.containerd.runc.v2', stats: async () => v1 })
  monitor.add({ namespace: 'n', id: 'two', runtime: '', stats: async () => v2 })
  const lines = (await monitor.prometheus()).split('\n')
  const one = 'container_id="one",namespace="n",runtime="io.containerd.runc.v2"'
  const two = 'container_id="two",namespace="n"'
  for (const line of [
    '# HELP container_memory_rss_huge_bytes rss_huge of memory.stat.',
    '# HELP container_io_rios_total Reads from a device.',
    '# TYPE container_memory_oom_total counter',
    '# TYPE container_cpu_total_nanoseconds gauge',
    `container_cpu_total_nanoseconds{${one}} 18446744073709551615`,
    `container_per_cpu_nanoseconds{${one},cpu="1"} 2`,
    `container_memory_rss_huge_bytes{${one}} 5`,
    `container_memory_hierarchical_memsw_limit_bytes{${one}} 7`,
    `container_memory_usage_usage_bytes{${one}} 9`,
    `container_memory_usage_failcnt_total{${one}} 1`,
    `container_blkio_io_serviced_recursive_total{${one},op="Read",device="/dev/vda",major="254",minor="0"} 3`,
    `container_memory_oom_total{${one}} 2`,
    `container_cpu_usage_usec_microseconds{${two}} 8`,
    `container_memory_usage_limit_bytes{${two}} 4`,
    `container_io_rios_total{${two},major="8",minor="1"} 6`,
  ]) {
    expect(lines).toContain(line)
  }
})

test('a task that cannot tell, or is gone, is left out', async () => {
  const monitor = createMonitor(silentLogger)
  monitor.add({ namespace: 'n', id: 'broken', runtime: '', stats: () => Promise.reject(new Error('shim is gone')) })
  monitor.add({ namespace: 'n', id: 'removed', runtime: '', stats: async () => v2 })
  monitor.remove('n', 'removed')
  expect(await monitor.prometheus()).toBe('')
})
