import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Metrics as V1 } from '@containerd-ts/api/io/containerd/cgroups/v1/metrics'
import { Metrics as V2 } from '@containerd-ts/api/io/containerd/cgroups/v2/metrics'
import { createReaper, spawn } from '@containerd-ts/linux'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addToCgroup, type Cgroup, cgroupAt, cgroupOf, cgroupPids, cgroupStats, watchOom } from '../../src/index.js'

describe.runIf(process.getuid?.() === 0 && cgroupAt('/') !== undefined)('a control group', () => {
  const name = `/cgroups-test-${process.pid}`
  const directories = (cgroup: Cgroup | undefined): string[] =>
    cgroup === undefined ? [] : cgroup.version === 2 ? [cgroup.path] : [...new Set(cgroup.paths.values())]
  // Where processes need settings of their own before they may join, there is nothing to test.
  const usable = () => directories(cgroupAt(name)).filter((dir) => !dir.includes('cpuset'))
  const reaper = createReaper({ scope: 'own' })

  beforeEach(() => {
    for (const dir of usable()) mkdirSync(join(dir, 'child'), { recursive: true })
  })
  afterEach(() => {
    for (const dir of usable()) for (const path of [join(dir, 'child'), dir]) if (existsSync(path)) rmdirSync(path)
  })

  test('is found by its process, and knows whom it holds and what they use', async () => {
    const pids = [spawn('sleep', { args: ['100'] }), spawn('sleep', { args: ['100'] })]
    const exits = pids.map((pid) => reaper.wait(pid))
    addToCgroup(name, pids[0] ?? 0)
    addToCgroup(`${name}/child`, pids[1] ?? 0)
    const cgroup = cgroupOf(pids[0] ?? 0)
    if (cgroup === undefined) throw new Error('no cgroup')
    expect(cgroupPids(cgroup).sort()).toEqual([...pids].sort())
    const { typeUrl, value } = cgroupStats(cgroup)
    if (typeUrl === 'io.containerd.cgroups.v1.Metrics') expect(V1.decode(value).memory?.usage?.usage).toBeGreaterThan(0n)
    else expect(V2.decode(value).pids?.current).toBe(2n)
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await Promise.all(exits)
    expect(cgroupPids(cgroup)).toEqual([])
    expect(() => addToCgroup('/no/such/group', process.pid)).toThrow('does not exist')
  })

  test('tells when the kernel kills in it for want of memory', async () => {
    const cgroup = cgroupAt(name)
    if (cgroup === undefined) throw new Error('no cgroup')
    const memory = cgroup.version === 2 ? cgroup.path : (cgroup.paths.get('memory') ?? '')
    const limit = cgroup.version === 2 ? 'memory.max' : 'memory.limit_in_bytes'
    if (!existsSync(join(memory, limit))) return
    writeFileSync(join(memory, limit), String(16 << 20))
    let kills = 0
    const watch = watchOom(cgroup, () => kills++)
    const script = 'sleep 0.2; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'
    const pid = spawn('sh', { args: ['-c', script] })
    const exit = reaper.wait(pid)
    addToCgroup(name, pid)
    expect(await exit).toBe(137)
    await expect.poll(() => kills).toBe(1)
    watch.close()
    expect(kills).toBe(1)
  })
})
