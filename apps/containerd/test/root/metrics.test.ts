import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@containerd-ts/client'
import { eventually, prepareCgroups, startDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { busyboxRootfs, busyboxSpec, createBare } from './bare-container.js'

interface Family {
  type?: string
  help?: string
  /** Values by their labels, which are sorted. */
  readonly samples: Map<string, number>
}

/** Of a Go program and its HTTP server, and of the CRI, which this daemon has not. */
const theirsOnly = /^(go|process|promhttp|containerd_cri)_/
/** What containerd has in its second generation, whose names this daemon has; that of Debian is of the first. */
const newer = ['container_memory_oom_total']

// What may differ by so much between two containers that do the same.
const sameOrder: Readonly<Record<string, number>> = {
  container_memory_usage_usage_bytes: 3,
  container_memory_usage_max_bytes: 3,
  container_memory_usage_bytes: 3,
  container_memory_kernel_usage_bytes: 5,
  container_memory_swap_usage_bytes: 3,
  container_memory_cache_bytes: 3,
  container_memory_file_bytes: 3,
  container_memory_pgfault_bytes: 3,
  container_cpu_total_nanoseconds: 20,
  container_cpu_usage_usec_microseconds: 20,
  container_blkio_io_service_bytes_recursive_bytes: 1.2,
  container_blkio_io_serviced_recursive_total: 2,
  container_io_wbytes_bytes: 1.2,
}
const equal = /_limit(_bytes)?$|_pids_|_failcnt_|_hugetlb_|^grpc_server_(?!handling_seconds_(bucket|sum))/

// The figures of this daemon and of Debian's containerd, of containers that do the same. Needs root.
describe.runIf(process.getuid?.() === 0)('the metrics listener, and that of containerd', () => {
  let dir: string
  let ours: Map<string, Family>
  let theirs: Map<string, Family>

  beforeAll(async () => {
    prepareCgroups()
    dir = await mkdtemp(join(tmpdir(), 'metrics-'))
    theirs = await figures(join(dir, 'theirs'), 'containerd')
    ours = await figures(join(dir, 'ours'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  test('have the same families', () => {
    const wanted = [...theirs.keys()].filter((name) => !theirsOnly.test(name))
    expect(wanted.filter((name) => name.startsWith('container_')).length).toBeGreaterThan(30)
    expect([...ours.keys()].filter((name) => !newer.includes(name)).sort()).toEqual(wanted.sort())
  })

  test('have the same types and labels, and words on each family', () => {
    for (const [name, { type, help, samples }] of ours) {
      expect(help, name).toMatch(/\S/)
      const other = theirs.get(name)
      if (other === undefined) continue
      expect(type, name).toBe(other.type)
      if (name === 'containerd_build_info_total') expect(labelNames(samples)).toEqual(labelNames(other.samples))
      // Of calls there are more with them, which have more services.
      else if (name.startsWith('container_')) expect([...samples.keys()].sort(), name).toEqual([...other.samples.keys()].sort())
      else expect(labelNames(samples), name).toEqual(labelNames(other.samples))
    }
  })

  test('count the same in the same units', () => {
    const compared = new Set<string>()
    for (const [name, { samples }] of ours) {
      const most = equal.test(name) ? 1 : sameOrder[name]
      if (most === undefined) continue
      for (const [labels, value] of samples) {
        const other = theirs.get(name)?.samples.get(labels)
        if (other === undefined) continue
        compared.add(name)
        const factor = Math.max(value, other) / Math.min(value, other)
        expect(value === other ? 1 : factor, `${name}{${labels}}: ours ${value}, theirs ${other}`).toBeLessThanOrEqual(most)
      }
    }
    expect(compared.size).toBeGreaterThan(15)
    for (const name of ['grpc_server_msg_received_total', 'grpc_server_msg_sent_total']) expect(compared).toContain(name)
  })

  /** Starts a daemon, has it run the container, and asks for its figures. */
  async function figures(at: string, command?: string): Promise<Map<string, Family>> {
    const metrics = `127.0.0.1:${await freePort()}`
    const daemon = await startDaemon({
      dir: at,
      ...(command === undefined ? {} : { command }),
      config: `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[metrics]
  grpc_histogram = true
  address = "${metrics}"
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "${join(at, 's')}"
`,
    })
    const containerd = connect(daemon.address, { namespace: `metrics-${process.pid}` })
    const { containers, tasks } = containerd
    try {
      const rootfs = await busyboxRootfs(join(at, 'rootfs'))
      const id = 'container'
      await createBare(containerd, { id, rootfs, spec: await limitedSpec(rootfs, id) })
      const exit = tasks.wait({ containerId: id })
      await tasks.start({ containerId: id })
      await eventually('the container has done its work', () => (existsSync(join(rootfs, 'done')) ? true : undefined))
      // One that fails is counted, too.
      await expect(tasks.get({ containerId: 'nobody' })).rejects.toThrow('nobody')
      const answer = await fetch(`http://${metrics}/v1/metrics`)
      expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
      const text = await answer.text()
      await tasks.kill({ containerId: id, signal: 9 })
      await exit
      await tasks.delete({ containerId: id })
      await containers.delete({ id })
      expect(await (await fetch(`http://${metrics}/v1/metrics`)).text()).not.toContain('container_id="container"')
      return parse(text)
    } finally {
      containerd.close()
      await daemon.stop()
    }
  }
})

/** A container with limits of every kind, that writes past the page cache and then sleeps. */
async function limitedSpec(rootfs: string, id: string): Promise<object> {
  const write = 'busybox dd if=/dev/zero of=/file bs=1M count=4'
  const work = `${write} oflag=direct || ${write}; : > /done; exec busybox sleep 1000`
  const spec = busyboxSpec(['sh', '-c', work], `/metrics-${process.pid}-${id}`)
  const { linux } = spec as { linux: { resources: object } }
  // Only what is throttled is accounted for, in version 1 on newer kernels.
  const { dev } = await stat(rootfs)
  const [major, minor] = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)]
  const isDisk = existsSync(`/sys/dev/block/${major}:${minor}`) && !existsSync(`/sys/dev/block/${major}:${minor}/partition`)
  const blockIO = isDisk ? { blockIO: { throttleWriteBpsDevice: [{ major, minor, rate: 1024 ** 3 }] } } : {}
  const limits = { memory: { limit: 64 * 1024 ** 2 }, cpu: { quota: 50_000, period: 100_000 }, pids: { limit: 99 } }
  return { ...spec, linux: { ...linux, resources: { ...linux.resources, ...limits, ...blockIO } } }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Reads the Prometheus text format, of which values of labels hold no quotes here. */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>()
  const family = (name: string): Family => {
    const known = families.get(name) ?? { samples: new Map<string, number>() }
    families.set(name, known)
    return known
  }
  for (const line of text.split('\n').filter((line) => line !== '')) {
    const said = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line)
    const sample = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (said?.[2] !== undefined) family(said[2])[said[1] === 'TYPE' ? 'type' : 'help'] = said[3] ?? ''
    else if (sample?.[1] !== undefined) {
      const labels = [...(sample[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([label]) => label)
      const own = family(sample[1])
      own.samples.set(labels.sort().join(','), Number(sample[3]))
      // A histogram is of three kinds of samples, whose names are longer than its own.
      const { type, help } = families.get(sample[1].replace(/_(bucket|sum|count)$/, '')) ?? {}
      if (type === 'histogram') Object.assign(own, { type, help })
    } else throw new Error(`not of the format: ${line}`)
  }
  return families
}

function labelNames(samples: Family['samples']): string[] {
  return [...new Set([...samples.keys()].map((labels) => labels.replace(/="[^"]*"/g, '')))].sort()
}
