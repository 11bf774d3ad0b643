import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { snapshotterSuite } from '@containerd-ts/conformance/snapshots'
import { background } from '@containerd-ts/interface'
import { withTempMount } from '@containerd-ts/mount'
import { openNativeSnapshotter } from '@containerd-ts/snapshot-native'
import { describe, it } from 'vitest'
import { openFixture } from '../fixture.js'

describe.runIf(process.getuid?.() === 0)('a namespaced view of the native snapshotter', () => {
  snapshotterSuite(
    { describe, it },
    async () => {
      const root = await mkdtemp(join(tmpdir(), 'native-'))
      const native = await openNativeSnapshotter(root)
      const { metadata, close } = await openFixture({ snapshotters: new Map([['native', native]]) })
      const snapshotter = metadata.snapshotters.get('native')
      if (snapshotter === undefined) throw new Error('no view of the snapshotter')
      return {
        snapshotter,
        ctx: background('test'),
        async close() {
          await close()
          await native.close?.()
          await rm(root, { recursive: true })
        },
      }
    },
    { mount: (mounts, use) => withTempMount(mounts, {}, use) },
  )
})
