import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { snapshotterSuite } from '@containerd-ts/conformance/snapshots'
import { background } from '@containerd-ts/interface'
import { withTempMount } from '@containerd-ts/mount'
import { describe, it } from 'vitest'
import { openOverlaySnapshotter } from '../../src/snapshotter.js'

// Real mounts need root.
const open = async () => {
  const root = await mkdtemp(join(tmpdir(), 'snapshots-'))
  const snapshotter = await openOverlaySnapshotter(join(root, 's'))
  const close = async () => {
    await snapshotter.close?.()
    await rm(root, { recursive: true })
  }
  return { snapshotter, ctx: background(), close }
}

describe.runIf(process.getuid?.() === 0)('overlay', () => {
  snapshotterSuite({ describe, it }, open, { mount: (mounts, use) => withTempMount(mounts, {}, use), rebase: true })
})
