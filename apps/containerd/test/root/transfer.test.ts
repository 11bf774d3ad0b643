import { createReadStream, createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Containerd, connect, exportArchive, importArchive, pullImage, pushImage, run } from '@containerd-ts/client'
import { mustExec } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, startEnvironment } from './environment.js'

const notFound = 5
const cancelled = 1

// Images between a real registry, archives and the store, by the daemon itself. Needs root.
describe.runIf(process.getuid?.() === 0)('the transfer service', () => {
  let env: Environment
  let containerd: Containerd
  const namespace = `transfer-${process.pid}`

  beforeAll(async () => {
    env = await startEnvironment()
    containerd = connect(env.daemon.address, { namespace })
  })
  afterAll(async () => {
    containerd?.close()
    await env?.close()
  })

  const pull = (options: Parameters<typeof pullImage>[2] = {}) => pullImage(containerd, env.ref, { plainHttp: true, ...options })
  async function names(): Promise<string[]> {
    return (await containerd.images.list({})).images.map(({ name }) => name)
  }
  async function contents(of: Containerd = containerd): Promise<string[]> {
    const digests: string[] = []
    for await (const { info } of of.content.list({})) digests.push(...info.map(({ digest }) => digest))
    return digests.sort()
  }

  test('pulls and unpacks, tells how it goes, and leaves an image that runs', async () => {
    const events: string[] = []
    await pull({ onProgress: ({ event }) => events.push(event) })
    expect(events[0]).toBe(`Resolving from OCI Registry (${env.ref})`)
    expect(events.at(-1)).toBe(`Completed pull from OCI Registry (${env.ref})`)
    // Manifest, configuration and two layers.
    expect(events.filter((event) => event === 'complete')).toHaveLength(4)
    expect(events.filter((event) => event === 'extracted')).toHaveLength(2)
    expect(events).toContain('saved')
    expect((await run(containerd, { image: env.ref, args: ['echo', 'hello'] })).stdout.toString()).toBe('hello\n')

    // Nothing is held any more, and a collection takes nothing of it.
    expect((await containerd.leases.list({})).leases).toEqual([])
    const before = await contents()
    await containerd.leases.create({ id: 'collect' })
    await containerd.leases.delete({ id: 'collect', sync: true })
    expect(await contents()).toEqual(before)

    events.length = 0
    await pull({ onProgress: ({ event }) => events.push(event) })
    expect(events.filter((event) => event === 'already exists')).not.toHaveLength(0)
    expect(events).not.toContain('complete')
  })

  test('pulls of several clients at once share what they have in common', async () => {
    const other = connect(env.daemon.address, { namespace: `${namespace}-many` })
    try {
      let completed = 0
      const onProgress = ({ event }: { event: string }) => {
        if (event === 'complete') completed++
      }
      await Promise.all(
        Array.from({ length: 8 }, (_, n) => pullImage(other, env.ref, { plainHttp: true, name: `one/of:${n}`, onProgress })),
      )
      expect(completed).toBe(4)
      const { images } = await other.images.list({})
      expect(images).toHaveLength(8)
      expect((await run(other, { image: 'one/of:7', args: ['true'] })).exitStatus).toBe(0)
    } finally {
      other.close()
    }
  })

  test('pushes to another repository, where a strange client finds the same image', async () => {
    const host = env.ref.slice(0, env.ref.indexOf('/'))
    const events: string[] = []
    await pushImage(containerd, env.ref, `${host}/mine/copy:v1`, {
      plainHttp: true,
      onProgress: ({ event }) => events.push(event),
    })
    expect(events).toContain('pushed content')
    const inspect = async (name: string) => {
      const output = await mustExec('skopeo', ['inspect', '--tls-verify=false', `docker://${host}/${name}`])
      const { Digest, Layers } = JSON.parse(output) as { Digest: string; Layers: string[] }
      return { Digest, Layers }
    }
    expect(await inspect('mine/copy:v1')).toEqual(await inspect('library/busybox:latest'))
  })

  test('exports what another namespace imports, with its names, and skopeo reads', async () => {
    const archive = join(env.dir, 'exported.tar')
    await pipeline(Readable.from(exportArchive(containerd, [env.ref])), createWriteStream(archive))
    await mustExec('skopeo', ['inspect', `oci-archive:${archive}`])

    const other = connect(env.daemon.address, { namespace: `${namespace}-import` })
    try {
      const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch }
      const saved: string[] = []
      const onProgress = ({ event, name }: { event: string; name: string }) => {
        if (event === 'saved') saved.push(name)
      }
      await importArchive(other, createReadStream(archive), { prefix: 'import', unpack: platform, onProgress })
      expect(saved).toEqual([env.ref])
      expect((await run(other, { image: env.ref, args: ['cat', '/etc/hostname'] })).exitStatus).toBeLessThan(2)
    } finally {
      other.close()
    }
  })

  test('what cannot be is told by name, and leaves nothing', async () => {
    const host = env.ref.slice(0, env.ref.indexOf('/'))
    const before = { names: await names(), contents: await contents() }
    await expect(pullImage(containerd, `${host}/no/such:image`, { plainHttp: true })).rejects.toMatchObject({
      code: notFound,
      details: expect.stringContaining(`${host}/no/such:image`),
    })
    await expect(pushImage(containerd, 'no/such:image', `${host}/mine/other:v1`, { plainHttp: true })).rejects.toMatchObject({
      code: notFound,
      details: 'image "no/such:image": not found',
    })
    const broken = Readable.from([Buffer.alloc(4096, 'no archive')])
    await expect(importArchive(containerd, broken)).rejects.toMatchObject({ code: 3 })
    await expect(async () => {
      for await (const _ of exportArchive(containerd, ['no/such:image']));
    }).rejects.toMatchObject({ code: notFound })
    // Of a client that goes away in the middle.
    const controller = new AbortController()
    async function* endless() {
      const file = createReadStream(env.image.archive, { end: 100_000 })
      yield* file
      setTimeout(() => controller.abort(), 50)
      await new Promise(() => {})
    }
    await expect(importArchive(containerd, endless(), { signal: controller.signal })).rejects.toMatchObject({ code: cancelled })
    await expect.poll(async () => (await containerd.leases.list({})).leases).toEqual([])
    await expect.poll(async () => (await containerd.content.listStatuses({})).statuses).toEqual([])
    await containerd.leases.create({ id: 'collect' })
    await containerd.leases.delete({ id: 'collect', sync: true })
    expect({ names: await names(), contents: await contents() }).toEqual(before)
  })
})
