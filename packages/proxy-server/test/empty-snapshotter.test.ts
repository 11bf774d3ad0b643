import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background, NotFoundError, type Snapshotter, UnknownError } from '@containerd-ts/interface'
import { connectProxy, createRemoteSnapshotter } from '@containerd-ts/proxy-client'
import { expect, test } from 'vitest'
import { servePlugins } from '../src/index.js'

test('a snapshotter that knows no snapshots because it never had one is empty', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'proxy-'))
  const fresh = async () => {
    throw new NotFoundError('bucket does not exist')
  }
  const freshList = async () => {
    throw new UnknownError('bucket does not exist: not found')
  }
  const snapshotter = {
    // biome-ignore lint/correctness/useYield: it fails before.
    walk: async function* () {
      await freshList()
    },
    cleanup: fresh,
    stat: fresh,
  } as unknown as Snapshotter
  const served = await servePlugins({ address: join(dir, 'p.sock'), snapshotters: { fresh: snapshotter } })
  const connection = connectProxy(served.address)
  try {
    const remote = createRemoteSnapshotter(connection, 'fresh')
    const names: string[] = []
    for await (const { name } of remote.walk(background(), [])) names.push(name)
    expect(names).toEqual([])
    await remote.cleanup?.(background())
    await expect(remote.stat(background(), 'k')).rejects.toMatchObject({ code: 'NotFound' })
  } finally {
    connection.close()
    await served.close()
    await rm(dir, { recursive: true })
  }
})
