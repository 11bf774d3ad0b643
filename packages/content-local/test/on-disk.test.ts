import { appendFile, chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background } from '@containerd-ts/interface'
import { expect, it } from 'vitest'
import { blobsOnDisk, isAltered, readBlobOnDisk, setBlobAside } from '../src/on-disk.js'
import { createContentStore } from '../src/store.js'

it('the blobs of a closed store are listed, compared with their digests and set aside', async () => {
  const root = await mkdtemp(join(tmpdir(), 'on-disk-'))
  const ctx = background()
  const store = await createContentStore({ root })
  const writer = await store.writer(ctx, { ref: 'a' })
  await writer.write(Buffer.from('hello'))
  const { digest } = await writer.commit(ctx, {})
  await store.close()

  const list = async () => {
    const found: unknown[] = []
    for await (const blob of blobsOnDisk(root)) found.push(blob)
    return found
  }
  expect(await list()).toEqual([{ digest, sizeBytes: 5 }])
  expect(await isAltered(root, digest)).toBe(false)
  expect((await readBlobOnDisk(root, digest)).toString()).toBe('hello')
  const path = join(root, 'blobs', digest.replace(':', '/'))
  await chmod(path, 0o600)
  await appendFile(path, '!')
  expect(await isAltered(root, digest)).toBe(true)
  expect((await readFile(await setBlobAside(root, digest))).toString()).toBe('hello!')
  expect(await list()).toEqual([])
  await rm(root, { recursive: true })
})
