import { contentStoreSuite } from '@containerd-ts/conformance/content'
import { metadataStoreSuite } from '@containerd-ts/conformance/metadata'
import { background } from '@containerd-ts/interface'
import { describe, it } from 'vitest'
import { openFixture } from './fixture.js'

metadataStoreSuite({ describe, it }, openFixture)

for (const contentSharingPolicy of ['shared', 'isolated'] as const) {
  describe(contentSharingPolicy, () => {
    contentStoreSuite({ describe, it }, async () => {
      const { metadata, close } = await openFixture({ contentSharingPolicy })
      return { store: metadata.content, ctx: background('test'), close }
    })
  })
}
