import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentStoreSuite } from '@containerd-ts/conformance/content'
import { createContentStore } from '@containerd-ts/content-local/store'
import { background } from '@containerd-ts/interface'
import { connectProxy, createRemoteContentStore } from '@containerd-ts/proxy-client'
import { describe, expect, it, test } from 'vitest'
import { servePlugins } from '../src/index.js'

async function open() {
  const dir = await mkdtemp(join(tmpdir(), 'proxy-'))
  const content = await createContentStore({ root: join(dir, 'content') })
  const served = await servePlugins({ address: join(dir, 'p.sock'), content })
  const connection = connectProxy(served.address)
  return {
    store: createRemoteContentStore(connection),
    served,
    content,
    ctx: background('example', { lease: 'l' }),
    async close() {
      connection.close()
      await served.close()
      await content.close()
      await rm(dir, { recursive: true })
    },
  }
}

contentStoreSuite({ describe, it }, open)

test('a reader goes on where it was, and starts anew elsewhere', async () => {
  const { store, ctx, close } = await open()
  try {
    const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251))
    const writer = await store.writer(ctx, { ref: 'r' })
    await writer.write(bytes)
    const { digest } = await writer.commit(ctx, {})
    const reader = await store.reader(ctx, digest)
    const target = Buffer.alloc(70_000)
    for (const offset of [0, 70_000, 140_000, 2_950_000, 5, 2_999_999, 3_000_000]) {
      const length = await reader.read(target, offset)
      expect(length).toBe(Math.min(target.length, bytes.length - offset))
      expect(target.subarray(0, length).equals(bytes.subarray(offset, offset + length))).toBe(true)
    }
    await reader.close()
  } finally {
    await close()
  }
})

test('while nobody serves, calls are Unavailable; afterwards they work again', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'proxy-'))
  const address = join(dir, 'p.sock')
  const content = await createContentStore({ root: join(dir, 'content') })
  const connection = connectProxy(address)
  const store = createRemoteContentStore(connection)
  const ctx = background()
  try {
    await expect(store.status(ctx, 'x')).rejects.toMatchObject({ code: 'Unavailable' })
    const served = await servePlugins({ address, content })
    await expect.poll(() => store.status(ctx, 'x').catch((error) => error.code)).toBe('NotFound')
    const writer = await store.writer(ctx, { ref: 'x' })
    await served.close()
    await expect(writer.write(Buffer.from('lost'))).rejects.toMatchObject({ code: 'Unavailable' })
    await writer.close()
  } finally {
    connection.close()
    await content.close()
    await rm(dir, { recursive: true })
  }
})
