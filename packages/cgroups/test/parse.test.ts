import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseHierarchies, parseMembership, readStatsV1, readStatsV2 } from '../src/index.js'

describe('the cgroup of a process', () => {
  const hybrid = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
  const unified = '41 31 0:38 / /sys/fs/cgr\\040oup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n'

  test('has a directory per controller where there are any', () => {
    const cgroup = parseMembership(
      '9:name=systemd:/s\n4:memory:/docker/abc/x\n2:cpu,cpuacct:/y\n0::/z\n',
      parseHierarchies(hybrid),
    )
    expect(cgroup).toEqual({
      version: 1,
      paths: new Map([
        ['memory', '/sys/fs/cgroup/memory/x'],
        ['cpu', '/sys/fs/cgroup/cpu,cpuacct/y'],
        ['cpuacct', '/sys/fs/cgroup/cpu,cpuacct/y'],
      ]),
    })
  })

  test('has one directory otherwise', () => {
    expect(parseMembership('0::/a:b/c\n', parseHierarchies(unified))).toEqual({ version: 2, path: '/sys/fs/cgr oup/a:b/c' })
    expect(parseMembership('0::/a\n', parseHierarchies(''))).toBeUndefined()
  })
})

describe('statistics', () => {
  const withFiles = <T>(files: Readonly<Record<string, string>>, read: (dir: string) => T): T => {
    const dir = mkdtempSync(join(tmpdir(), 'cgroups-'))
    try {
      for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text)
      mkdirSync(join(dir, 'child'))
      return read(dir)
    } finally {
      rmSync(dir, { recursive: true })
    }
  }

  test('of version 2 keep every bit, take "max" as all ones and what is missing as 0', () => {
    const stats = withFiles(
      {
        'cpu.stat': 'usage_usec 18446744073709551614\nuser_usec 5\nnr_bursts 2\n',
        'cpu.pressure': 'some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n',
        'memory.stat': 'anon 4096\nworkingset_refault 3\n',
        'memory.current': '8192\n',
        'memory.max': 'max\n',
        'memory.events': 'low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n',
        'pids.current': '3\n',
        'pids.max': 'max\n',
        'io.stat': '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:1 rbytes=5\n',
        'hugetlb.2MB.current': '0\n',
        'hugetlb.2MB.max': 'max\n',
        'hugetlb.2MB.events': 'max 6\n',
        'rdma.current': 'mlx5_0 hca_handle=2 hca_object=max\n',
      },
      readStatsV2,
    )
    const max = 0xffff_ffff_ffff_ffffn
    expect(stats.cpu).toMatchObject({ usageUsec: max - 1n, userUsec: 5n, systemUsec: 0n, nrBursts: 2n })
    expect(stats.cpu?.psi).toEqual({
      some: { avg10: 1.5, avg60: 0.25, avg300: 0, total: 12345n },
      full: { avg10: 0, avg60: 0, avg300: 0, total: 7n },
    })
    expect(stats.memory).toMatchObject({
      anon: 4096n,
      usage: 8192n,
      usageLimit: max,
      swapUsage: 0n,
      workingsetRefault: 3n,
      psi: undefined,
    })
    expect(stats.memoryEvents).toEqual({ low: 0n, high: 1n, max: 2n, oom: 3n, oomKill: 4n, oomGroupKill: 5n })
    expect(stats.pids).toEqual({ current: 3n, limit: max })
    expect(stats.io?.usage).toEqual([
      { major: 8n, minor: 0n, rbytes: 10n, wbytes: 20n, rios: 1n, wios: 2n },
      { major: 253n, minor: 1n, rbytes: 5n, wbytes: 0n, rios: 0n, wios: 0n },
    ])
    expect(stats.hugetlb).toEqual([{ pagesize: '2MB', current: 0n, max, failcnt: 6n }])
    expect(stats.rdma?.current).toEqual([{ device: 'mlx5_0', hcaHandles: 2, hcaObjects: 0xffff_ffff }])
    expect(withFiles({}, readStatsV2).memoryEvents).toBeUndefined()
  })

  test('of version 1 leave out what a kernel does not have, and take a "max" of pids as 0', () => {
    const stats = withFiles(
      {
        'cpuacct.usage': '1000\n',
        'cpuacct.stat': 'user 3\nsystem 4\n',
        'cpuacct.usage_percpu': '400 600 \n',
        'pids.current': '2\n',
        'pids.max': 'max\n',
        'memory.stat': 'cache 1\ntotal_rss 2\nhierarchical_memory_limit 9223372036854771712\n',
        'memory.usage_in_bytes': '5\n',
        'memory.limit_in_bytes': '6\n',
        'memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n',
        'blkio.throttle.io_serviced': '8:0 Read 1\n8:0 Total 1\nTotal 1\n',
        'blkio.throttle.io_service_bytes': '8:0 Read 4096\n',
      },
      (dir) => readStatsV1(new Map(['cpu', 'cpuacct', 'pids', 'memory', 'blkio'].map((controller) => [controller, dir]))),
    )
    expect(stats.cpu).toEqual({
      usage: { total: 1000n, kernel: 40_000_000n, user: 30_000_000n, perCpu: [400n, 600n] },
      throttling: undefined,
    })
    expect(stats.pids).toEqual({ current: 2n, limit: 0n })
    expect(stats.memory).toMatchObject({
      cache: 1n,
      totalRss: 2n,
      hierarchicalMemoryLimit: 9223372036854771712n,
      swap: undefined,
    })
    expect(stats.memory?.usage).toEqual({ usage: 5n, limit: 6n, max: 0n, failcnt: 0n })
    expect(stats.memoryOomControl?.oomKill).toBe(3n)
    expect(stats.blkio?.ioServicedRecursive.map(({ op, major, value }) => [op, major, value])).toEqual([
      ['Read', 8n, 1n],
      ['Total', 8n, 1n],
    ])
    expect(stats.rdma).toBeUndefined()
    expect(stats.hugetlb).toEqual([])
  })
})
