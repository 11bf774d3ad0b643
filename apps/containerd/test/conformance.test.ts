import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentStoreSuite } from '@containerd-ts/conformance/content'
import { metadataStoreSuite } from '@containerd-ts/conformance/metadata'
import { background } from '@containerd-ts/interface'
import { startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { connectStores, type Stores } from './stores.js'

describe('the daemon, over gRPC', () => {
  let dir: string
  let daemon: TestDaemon
  let stores: Stores
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'conformance-'))
    daemon = await startDaemon({ dir })
    stores = connectStores(daemon.address)
  })
  afterAll(async () => {
    stores?.close()
    await daemon?.stop()
    await rm(dir, { recursive: true, force: true })
  })

  // Every test has namespaces of its own.
  let tests = 0
  const prefix = () => `t${++tests}-`
  const close = async () => {}

  contentStoreSuite({ describe, it }, async () => {
    const namespace = `${prefix()}content`
    // Under a lease: nobody else keeps the blobs from a collection, which the deletions of another test may start.
    await stores.namespaces.create(background(), { name: namespace, labels: {} })
    await stores.leases.create(background(namespace), { id: 'test', labels: {} })
    return { store: stores.content, ctx: background(namespace, { lease: 'test' }), close }
  })
  metadataStoreSuite({ describe, it }, async () => ({
    metadata: stores,
    prefix: prefix(),
    close,
  }))
})
