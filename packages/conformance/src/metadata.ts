import { background, type Context } from '@containerd-ts/interface'
import { containerStoreSuite } from './containers.js'
import { imageStoreSuite } from './images.js'
import { leaseManagerSuite } from './leases.js'
import { type MetadataUnderTest, namespaceStoreSuite } from './namespaces.js'
import type { TestApi } from './test-api.js'

export type { MetadataUnderTest } from './namespaces.js'
export type { TestApi } from './test-api.js'

/** A store for one test. */
export interface MetadataStoreUnderTest {
  readonly metadata: MetadataUnderTest
  /** Namespaces whose names begin with it are empty, and only those are used. Default: all of a fresh store. */
  readonly prefix?: string
  close(): Promise<void>
}

/** The suites of images, containers, namespaces and leases on a store that has all of them. */
export function metadataStoreSuite(api: TestApi, open: () => Promise<MetadataStoreUnderTest>): void {
  const part =
    <T>(choose: (metadata: MetadataUnderTest) => T) =>
    async (): Promise<{ store: T; ctx: Context; close(): Promise<void> }> => {
      const { metadata, prefix = '', close } = await open()
      return { store: choose(metadata), ctx: background(`${prefix}suite`), close }
    }
  imageStoreSuite(
    api,
    part(({ images }) => images),
  )
  containerStoreSuite(
    api,
    part(({ containers }) => containers),
  )
  leaseManagerSuite(
    api,
    part(({ leases }) => leases),
  )
  namespaceStoreSuite(api, async () => {
    const { metadata, prefix = '', close } = await open()
    return { metadata, prefix, close }
  })
}
