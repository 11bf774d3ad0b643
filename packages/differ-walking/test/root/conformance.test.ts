import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openArchive } from '@containerd-ts/archive'
import { differSuite } from '@containerd-ts/conformance/differ'
import { createContentStore } from '@containerd-ts/content-local'
import { background } from '@containerd-ts/interface'
import { describe, it } from 'vitest'
import { createWalkingDiffer } from '../../src/differ.js'

// Real mounts need root.
const open = async () => {
  const root = await mkdtemp(join(tmpdir(), 'differ-suite-'))
  const content = await createContentStore({ root: join(root, 'content') })
  const differ = createWalkingDiffer({ content, archive: openArchive(), tempRoot: join(root, 'tmpmounts') })
  return {
    differ,
    content,
    ctx: background('suite'),
    directory: () => mkdtemp(join(root, 'tree-')),
    async close() {
      await differ.close()
      await content.close()
      await rm(root, { recursive: true })
    },
  }
}

describe.runIf(process.getuid?.() === 0)('walking', () => {
  differSuite({ describe, it }, open)
})
