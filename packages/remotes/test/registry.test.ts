import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exec, type Registry, startRegistry } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createResolver } from '../src/index.js'
import { collect, digestOf, errorOf, layerType, manifestType, never, once } from './server.js'

const layer = randomBytes(5_000_000)
const config = '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
const configType = 'application/vnd.oci.image.config.v1+json'
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: manifestType,
  config: { mediaType: configType, digest: digestOf(config), size: config.length },
  layers: [{ mediaType: layerType, digest: digestOf(layer), size: layer.length }],
})

const layerDescriptor = { mediaType: layerType, digest: digestOf(layer), sizeBytes: layer.length }
const configDescriptor = { mediaType: configType, digest: digestOf(config), sizeBytes: config.length }
const manifestDescriptor = { mediaType: manifestType, digest: digestOf(manifest), sizeBytes: manifest.length }

const there = await exec('docker-registry', ['--version']).then(
  ({ code }) => code === 0,
  () => false,
)

// htpasswd of me:pw.
const passwords = 'me:$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q\n'

describe.skipIf(!there)("Debian's docker-registry", () => {
  let dir: string
  let registry: Registry
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'remotes-'))
    registry = await startRegistry(join(dir, 'open'))
  })
  afterAll(async () => {
    await registry.stop()
    await rm(dir, { recursive: true })
  })

  it('takes an image, gives it back, and mounts its layers elsewhere', async () => {
    const resolver = createResolver()
    const name = `${registry.host}/library/image:latest`
    const large = { open: () => once(layer), signal: never }
    expect(await resolver.push(name, layerDescriptor, large)).toBe('pushed')
    expect(await resolver.push(name, layerDescriptor, large)).toBe('exists')
    expect(await resolver.push(name, configDescriptor, { open: () => once(config), signal: never })).toBe('pushed')
    expect(await resolver.push(name, manifestDescriptor, { open: () => once(manifest), signal: never })).toBe('pushed')
    expect(await resolver.push(name, manifestDescriptor, { open: () => once(manifest), signal: never })).toBe('exists')

    expect(await resolver.resolve(name, never)).toEqual({ name, descriptor: manifestDescriptor })
    const byDigest = `${registry.host}/library/image@${manifestDescriptor.digest}`
    expect((await resolver.resolve(byDigest, never)).descriptor).toEqual(manifestDescriptor)
    expect((await collect(await resolver.fetch(name, manifestDescriptor, { signal: never }))).toString()).toBe(manifest)
    expect((await collect(await resolver.fetch(name, layerDescriptor, { signal: never }))).equals(layer)).toBe(true)
    const rest = await collect(await resolver.fetch(name, layerDescriptor, { offset: 4_000_000, signal: never }))
    expect(rest.equals(layer.subarray(4_000_000))).toBe(true)

    const elsewhere = `${registry.host}/other/image:latest`
    const mounting = { ...large, mountFrom: ['library/image'] }
    expect(await resolver.push(elsewhere, layerDescriptor, mounting)).toBe('mounted')
    expect(
      await resolver.push(
        elsewhere,
        { ...layerDescriptor, digest: digestOf('x'), sizeBytes: 1 },
        { ...mounting, open: () => once('x') },
      ),
    ).toBe('pushed')
    resolver.close()
  })

  it('says what is missing or wrong', async () => {
    const resolver = createResolver()
    const name = `${registry.host}/library/none:latest`
    expect(await errorOf(resolver.resolve(name, never))).toMatchObject({ code: 'NotFound', message: `${name}: not found` })
    expect(await errorOf(resolver.fetch(name, layerDescriptor, { signal: never }))).toMatchObject({ code: 'NotFound' })
    const wrong = { ...configDescriptor, digest: digestOf('other') }
    const error = await errorOf(resolver.push(name, wrong, { open: () => once(config), signal: never }))
    expect(error.message).toMatch(/400 Bad Request: DIGEST_INVALID: provided digest did not match uploaded content/)
    resolver.close()
  })

  it('lets in who knows the password', async () => {
    const closed = await startRegistry(join(dir, 'closed'), { passwords })
    try {
      const name = `${closed.host}/library/image:latest`
      const resolver = createResolver({ credentials: async () => ({ type: 'credentials', username: 'me', secret: 'pw' }) })
      for (const [descriptor, bytes] of [
        [layerDescriptor, layer],
        [configDescriptor, config],
        [manifestDescriptor, manifest],
      ] as const) {
        expect(await resolver.push(name, descriptor, { open: () => once(bytes), signal: never })).toBe('pushed')
      }
      expect((await resolver.resolve(name, never)).descriptor).toEqual(manifestDescriptor)
      expect((await collect(await resolver.fetch(name, layerDescriptor, { signal: never }))).equals(layer)).toBe(true)
      resolver.close()

      const unknown = createResolver({ credentials: async () => ({ type: 'credentials', username: 'me', secret: 'wrong' }) })
      for (const attempt of [
        () => unknown.resolve(name, never),
        () => unknown.fetch(name, layerDescriptor, { signal: never }),
        () => unknown.push(name, layerDescriptor, { open: () => once(layer), signal: never }),
        () => createResolver().resolve(name, never),
      ]) {
        expect(await errorOf(attempt())).toMatchObject({
          code: 'Unauthenticated',
          message: expect.stringContaining('401 Unauthorized'),
        })
      }
      unknown.close()
    } finally {
      await closed.stop()
    }
  })
})
