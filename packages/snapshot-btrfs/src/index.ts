/** The btrfs snapshotter, `io.containerd.snapshotter.v1.btrfs`: snapshots are subvolumes. */
import { hostPlatform } from '@containerd-ts/interface'
import { PluginType, type Registration, register, SkipPlugin, text } from '@containerd-ts/plugin'
import { isOnBtrfs } from './device.js'
import { openBtrfsSnapshotter } from './snapshotter.js'

export { openBtrfsSnapshotter } from './snapshotter.js'

/** The plugin `io.containerd.snapshotter.v1.btrfs`. */
export const btrfsSnapshotter: Registration<typeof PluginType.Snapshotter, { root_path: string }> = {
  type: PluginType.Snapshotter,
  id: 'btrfs',
  config: { root_path: text({ default: '', doc: "Directory of the snapshots; empty means the plugin's own." }) },
  async init(ic) {
    const root = ic.config.root_path || ic.root
    if (!(await isOnBtrfs(root)))
      throw new SkipPlugin(`path ${root} must be a btrfs filesystem to be used with the btrfs snapshotter`)
    ic.meta.platforms.push(hostPlatform())
    ic.meta.exports['root'] = root
    return openBtrfsSnapshotter(root)
  },
}

register(btrfsSnapshotter)
