/** The metadata plugin, `io.containerd.metadata.v1.level`: names, labels, leases and references, on LevelDB. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { type MetadataConfig, metadataConfig } from './config.js'
import { createMetadataStore } from './store.js'

export type { ContentSharingPolicy, MetadataConfig } from './config.js'
export { createMetadataStore, type MetadataStoreOptions } from './store.js'

/** The plugin `io.containerd.metadata.v1.level`. */
export const metadataStore: Registration<typeof PluginType.Metadata, MetadataConfig> = {
  type: PluginType.Metadata,
  id: 'level',
  requires: [PluginType.Content, PluginType.Event],
  after: [PluginType.Snapshotter],
  config: metadataConfig,
  async init(ic) {
    const path = join(ic.root, 'meta.level')
    await mkdir(ic.root, { recursive: true, mode: 0o700 })
    ic.meta.exports['path'] = path
    ic.meta.exports['policy'] = ic.config.content_sharing_policy
    return createMetadataStore({
      path,
      content: ic.get(PluginType.Content),
      snapshotters: ic.getAll(PluginType.Snapshotter),
      events: ic.events,
      contentSharingPolicy: ic.config.content_sharing_policy,
      sync: !ic.config.no_sync,
      backendTimeoutMs: ic.config.backend_timeout,
      log: ic.log,
    })
  },
}

register(metadataStore)
