import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentStoreSuite } from '@containerd-ts/conformance/content'
import { background } from '@containerd-ts/interface'
import { describe, it } from 'vitest'
import { createContentStore } from '../src/store.js'

contentStoreSuite({ describe, it }, async () => {
  const root = await mkdtemp(join(tmpdir(), 'content-'))
  const store = await createContentStore({ root })
  return {
    store,
    ctx: background(),
    async close() {
      await store.close()
      await rm(root, { recursive: true })
    },
  }
})
