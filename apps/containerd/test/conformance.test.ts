import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentStoreSuite } from '@containerd-ts/conformance/content'
import { metadataStoreSuite } from '@containerd-ts/conformance/metadata'
import { background } from '@containerd-ts/interface'
import {
  connectProxy,
  createRemoteContainerStore,
  createRemoteContentStore,
  createRemoteImageStore,
  createRemoteLeaseManager,
  createRemoteNamespaceStore,
  type ProxyConnection,
} from '@containerd-ts/proxy-client'
import { startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, it } from 'vitest'

describe('the daemon, over gRPC', () => {
  let dir: string
  let daemon: TestDaemon
  let connection: ProxyConnection
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'conformance-'))
    daemon = await startDaemon({ dir })
    connection = connectProxy(daemon.address)
  })
  afterAll(async () => {
    connection?.close()
    await daemon?.stop()
    await rm(dir, { recursive: true, force: true })
  })

  // Every test has namespaces of its own.
  let tests = 0
  const prefix = () => `t${++tests}-`
  const close = async () => {}

  contentStoreSuite({ describe, it }, async () => ({
    store: createRemoteContentStore(connection),
    ctx: background(`${prefix()}content`),
    close,
  }))
  metadataStoreSuite({ describe, it }, async () => ({
    metadata: {
      images: createRemoteImageStore(connection),
      containers: createRemoteContainerStore(connection),
      namespaces: createRemoteNamespaceStore(connection),
      leases: createRemoteLeaseManager(connection),
    },
    prefix: prefix(),
    close,
  }))
})
