/** The native snapshotter, `io.containerd.snapshotter.v1.native`: whole copies, on any filesystem. */
import { hostPlatform } from '@containerd-ts/interface'
import { PluginType, type Registration, register, text } from '@containerd-ts/plugin'
import { openNativeSnapshotter } from './snapshotter.js'

export { openNativeSnapshotter } from './snapshotter.js'

/** The plugin `io.containerd.snapshotter.v1.native`. */
export const nativeSnapshotter: Registration<typeof PluginType.Snapshotter, { root_path: string }> = {
  type: PluginType.Snapshotter,
  id: 'native',
  config: { root_path: text({ default: '', doc: "Directory of the snapshots; empty means the plugin's own." }) },
  init(ic) {
    const root = ic.config.root_path || ic.root
    ic.meta.platforms.push(hostPlatform())
    ic.meta.exports['root'] = root
    return openNativeSnapshotter(root)
  },
}

register(nativeSnapshotter)
