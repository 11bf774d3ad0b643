import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { snapshotterSuite } from '@containerd-ts/conformance/snapshots'
import { background } from '@containerd-ts/interface'
import { withTempMount } from '@containerd-ts/mount'
import { connectProxy, createRemoteSnapshotter } from '@containerd-ts/proxy-client'
import { openNativeSnapshotter } from '@containerd-ts/snapshot-native/snapshotter'
import { describe, it } from 'vitest'
import { servePlugins } from '../../src/index.js'

async function open() {
  const dir = await mkdtemp(join(tmpdir(), 'proxy-'))
  const native = await openNativeSnapshotter(join(dir, 'snapshots'))
  const served = await servePlugins({ address: join(dir, 'p.sock'), snapshotters: { remote: native } })
  const connection = connectProxy(served.address)
  return {
    snapshotter: createRemoteSnapshotter(connection, 'remote'),
    ctx: background(),
    async close() {
      connection.close()
      await served.close()
      await native.close?.()
      await rm(dir, { recursive: true })
    },
  }
}

// Real mounts need root.
describe.runIf(process.getuid?.() === 0)('native, over a socket', () => {
  snapshotterSuite({ describe, it }, open, { mount: (mounts, use) => withTempMount(mounts, {}, use) })
})
