import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createContentStore } from '@containerd-ts/content-local/store'
import { createExchange } from '@containerd-ts/events-exchange/exchange'
import { createMetadataStore, type MetadataStoreOptions } from '../src/store.js'

/** A metadata store over real backends in a directory of its own. */
export async function openFixture(options: Partial<MetadataStoreOptions> = {}) {
  const root = await mkdtemp(join(tmpdir(), 'metadata-'))
  const content = await createContentStore({ root: join(root, 'content') })
  const events = createExchange()
  const open = () => createMetadataStore({ path: join(root, 'meta'), content, snapshotters: new Map(), events, ...options })
  const metadata = await open()
  return {
    root,
    content,
    events,
    metadata,
    open,
    async close() {
      await metadata.close()
      await content.close()
      await rm(root, { recursive: true })
    },
  }
}
