import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Containerd, importImage } from '../src/index.js'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'import-'))
  mkdirSync(join(dir, 'layout/blobs/sha256'), { recursive: true })
})
afterEach(() => rmSync(dir, { recursive: true }))

/** Keeps what the client stores, in place of a daemon. */
function recorder() {
  const blobs = new Map<string, Buffer>()
  const labels = new Map<string, Record<string, string>>()
  const images = new Map<string, string>()
  const leases: string[] = []
  const containerd = {
    withLease: () => containerd,
    leases: { create: async () => ({ lease: { id: 'l' } }), delete: async ({ id }: { id: string }) => leases.push(id) },
    content: {
      async *write(requests: AsyncIterable<{ data?: Uint8Array; expected: string }>) {
        const chunks: Uint8Array[] = []
        for await (const { data, expected } of requests) {
          if (data !== undefined) chunks.push(Buffer.from(data))
          else blobs.set(expected, Buffer.concat(chunks))
          yield {}
        }
      },
      async *read({ digest }: { digest: string }) {
        const data = blobs.get(digest)
        if (data === undefined) throw Object.assign(new Error('not found'), { code: 5 })
        yield { data }
      },
      update: async ({ info }: { info: { digest: string; labels: Record<string, string> } }) =>
        labels.set(info.digest, info.labels),
    },
    images: {
      create: async ({ image }: { image: { name: string; target: { digest: string } } }) =>
        images.set(image.name, image.target.digest),
    },
  }
  return { containerd: containerd as unknown as Containerd, blobs, labels, images, leases }
}

function blob(content: unknown): { digest: string; size: number } {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
  const hex = createHash('sha256').update(bytes).digest('hex')
  writeFileSync(join(dir, 'layout/blobs/sha256', hex), bytes)
  return { digest: `sha256:${hex}`, size: bytes.length }
}

function archive(): string {
  const path = join(dir, 'image.tar')
  execFileSync('tar', ['-C', join(dir, 'layout'), '-cf', path, '.'])
  return path
}

test('blobs are stored whole, manifests refer to their children, images are named', async () => {
  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', ...blob(Buffer.alloc(3_000_000, 'x')) }
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', ...blob({}) }
  const manifest = { mediaType: 'application/vnd.oci.image.manifest.v1+json', ...blob({ config, layers: [layer] }) }
  const missing = { ...manifest, digest: `sha256:${'0'.repeat(64)}` }
  const index = { mediaType: 'application/vnd.oci.image.index.v1+json', ...blob({ manifests: [manifest, missing] }) }
  const annotations = { 'io.containerd.image.name': 'example.com/a:b' }
  writeFileSync(join(dir, 'layout/index.json'), JSON.stringify({ manifests: [{ ...index, annotations }] }))
  const { containerd, blobs, labels, images, leases } = recorder()
  expect(await importImage(containerd, archive())).toEqual(['example.com/a:b'])
  expect(blobs.get(layer.digest)?.equals(Buffer.alloc(3_000_000, 'x'))).toBe(true)
  expect(images).toEqual(new Map([['example.com/a:b', index.digest]]))
  expect(labels.get(index.digest)).toEqual({
    'containerd.io/gc.ref.content.m.0': manifest.digest,
    'containerd.io/gc.ref.content.m.1': missing.digest,
  })
  expect(labels.get(manifest.digest)).toEqual({
    'containerd.io/gc.ref.content.config': config.digest,
    'containerd.io/gc.ref.content.l.0': layer.digest,
  })
  expect(leases).toEqual(['l'])
})

test('an archive without a layout is refused, and the lease is let go', async () => {
  const { containerd, images, leases } = recorder()
  await expect(importImage(containerd, archive())).rejects.toThrow('not an OCI image layout')
  expect(images.size).toBe(0)
  expect(leases).toEqual(['l'])
})

test('a file that is no archive is refused', async () => {
  writeFileSync(join(dir, 'noise'), Buffer.alloc(2048, 'noise'))
  await expect(importImage(recorder().containerd, join(dir, 'noise'))).rejects.toThrow()
})
