import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background } from '@containerd-ts/interface'
import {
  connectProxy,
  createRemoteContentStore,
  createRemoteImageStore,
  createRemoteLeaseManager,
} from '@containerd-ts/proxy-client'
import { exec, ourDaemon, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'

const ctx = background('ns')
let dir: string
let daemon: TestDaemon
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gc-commands-'))
  daemon = await startDaemon({ dir })
})
afterAll(async () => {
  await daemon.stop()
  await rm(dir, { recursive: true, force: true })
})

const gc = (...words: string[]) => exec(ourDaemon, ['--address', daemon.address, 'gc', ...words])

it('garbage is listed, collected, and what is kept explained', async () => {
  const connection = connectProxy(daemon.address)
  const content = createRemoteContentStore(connection)
  const put = async (text: string, labels: Record<string, string> = {}) => {
    const writer = await content.writer(leased, { ref: text })
    await writer.write(Buffer.from(text))
    return (await writer.commit(leased, { labels })).digest
  }
  const leases = createRemoteLeaseManager(connection)
  await leases.create(ctx, { id: 'lease', labels: {} })
  const leased = { ...ctx, lease: 'lease' }
  const layer = await put('layer')
  const manifest = await put('manifest', { 'containerd.io/gc.ref.content.l.0': layer })
  const orphan = await put('orphan')
  const target = { mediaType: 'm', digest: manifest, sizeBytes: 8, annotations: {} }
  await createRemoteImageStore(connection).create(ctx, { name: 'example.com/image:tag', labels: {}, target })

  expect((await gc('explain', '-n', 'ns', orphan)).stdout).toBe(
    `content ${orphan} in namespace ns is kept\n  by lease lease: listed\n  which is kept by itself: not expired\n`,
  )
  await leases.deleteResource(ctx, 'lease', { type: 'content', id: orphan })
  await leases.deleteResource(ctx, 'lease', { type: 'content', id: layer })
  await leases.deleteResource(ctx, 'lease', { type: 'content', id: manifest })
  expect((await gc('explain', '-n', 'ns', `content/${layer}`)).stdout).toBe(
    `content ${layer} in namespace ns is kept
  by content ${manifest}: containerd.io/gc.ref.content.l.0
  by image example.com/image:tag: target
  which is kept by itself: not expired
`,
  )
  // The daemon may have collected it by itself meanwhile.
  const preview: unknown = JSON.parse((await gc('--dry-run', '--format', 'json')).stdout)
  const garbage = { object: { kind: 'content', namespace: 'ns', id: orphan }, sizeBytes: 6 }
  expect([[], [garbage]]).toContainEqual(preview)
  expect((await gc()).stdout).toMatch(/^removed (nothing|1 content) in [\d.]+ ms\n$/)
  expect((await gc('explain', '-n', 'ns', orphan)).stdout).toBe(`content ${orphan} in namespace ns does not exist\n`)
  expect((await gc('--dry-run')).stdout).toBe('Nothing would be removed.\n')
  connection.close()
})

it('mistakes are told with what is right', async () => {
  expect((await gc('explain')).stderr).toContain('gc explain needs one object')
  expect((await gc('--format', 'xml')).stderr).toContain('unknown format "xml": expected table or json')
  const away = await exec(ourDaemon, ['--address', join(dir, 'nobody.sock'), 'gc', '--dry-run'])
  expect([away.code, away.stderr]).toEqual([1, expect.stringContaining('nobody.sock')])
})
