/** The content store on a local filesystem, plugin `io.containerd.content.v1.content`. */
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createContentStore } from './store.js'

export { type ContentStoreOptions, createContentStore, type LocalContentStore } from './store.js'

/** The plugin `io.containerd.content.v1.content`. */
export const contentStore: Registration<typeof PluginType.Content> = {
  type: PluginType.Content,
  id: 'content',
  async init(ic) {
    ic.meta.exports['root'] = ic.root
    return createContentStore({ root: ic.root, log: ic.log })
  },
}

register(contentStore)
