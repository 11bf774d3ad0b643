import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { snapshotterSuite } from '@containerd-ts/conformance/snapshots'
import { background } from '@containerd-ts/interface'
import { withTempMount } from '@containerd-ts/mount'
import { openSnapshotter } from '../src/index.js'

async function open() {
  const root = await mkdtemp(join(tmpdir(), '__name__-'))
  const snapshotter = await openSnapshotter(root)
  return {
    snapshotter,
    ctx: background(),
    async close() {
      await snapshotter.close?.()
      await rm(root, { recursive: true })
    },
  }
}

// What is in the trees can only be looked at where mounting is allowed.
const isRoot = process.getuid?.() === 0
snapshotterSuite({ describe, it }, open, isRoot ? { mount: (mounts, use) => withTempMount(mounts, {}, use) } : {})
