import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentStoreSuite } from '@containerd-ts/conformance/content'
import { background } from '@containerd-ts/interface'
import { describe, it } from 'vitest'
import { createContentStore } from '../src/store.js'

contentStoreSuite({ describe, it }, async () => {
  const root = await mkdtemp(join(tmpdir(), 'content-'))
  return { store: await createContentStore({ root }), ctx: background(), close: () => rm(root, { recursive: true }) }
})
