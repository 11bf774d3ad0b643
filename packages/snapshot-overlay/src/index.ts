/** The overlayfs snapshotter, `io.containerd.snapshotter.v1.overlayfs`. */
import { hostPlatform } from '@containerd-ts/interface'
import { inUserNamespace } from '@containerd-ts/linux'
import { flag, list, PluginType, type Registration, register, SkipPlugin, text } from '@containerd-ts/plugin'
import { detectOverlay, mapsOverlays } from './detect.js'
import { openOverlaySnapshotter } from './snapshotter.js'

export { type OverlayOptions, openOverlaySnapshotter } from './snapshotter.js'

interface OverlayConfig {
  root_path: string
  upperdir_label: boolean
  sync_remove: boolean
  slow_chown: boolean
  mount_options: readonly string[]
}

/** The plugin `io.containerd.snapshotter.v1.overlayfs`. */
export const overlaySnapshotter: Registration<typeof PluginType.Snapshotter, OverlayConfig> = {
  type: PluginType.Snapshotter,
  id: 'overlayfs',
  config: {
    root_path: text({ default: '', doc: "Directory of the snapshots; empty means the plugin's own." }),
    upperdir_label: flag({
      default: false,
      doc: 'Show the upper directory in the label containerd.io/snapshot/overlay.upperdir.',
    }),
    sync_remove: flag({ default: false, doc: 'Delete directories at once instead of after garbage collection.' }),
    slow_chown: flag({ default: false, doc: 'Let clients chown whole trees for user namespaces.' }),
    mount_options: list({ default: [], doc: 'Options at the end of every overlay mount.' }),
  },
  async init(ic) {
    const { config, meta } = ic
    const root = config.root_path || ic.root
    const detected = await detectOverlay(root)
    if ('reason' in detected) throw new SkipPlugin(`overlayfs does not work on ${root}: ${detected.reason}`)
    meta.platforms.push(hostPlatform())
    meta.exports['root'] = root
    // A rebased layer needs devices as whiteouts, which a user namespace cannot make.
    if (!inUserNamespace()) meta.capabilities.push('rebase')
    const remapIds = !inUserNamespace() && mapsOverlays()
    if (remapIds) meta.capabilities.push('remap-ids')
    if (!config.slow_chown) meta.capabilities.push('only-remap-ids')
    const nameOf = (option: string) => option.split('=', 1)[0]
    const configured = config.mount_options.map(nameOf)
    return openOverlaySnapshotter(root, {
      mountOptions: [...config.mount_options, ...detected.options.filter((option) => !configured.includes(nameOf(option)))],
      syncRemove: config.sync_remove,
      upperdirLabel: config.upperdir_label,
      remapIds,
    })
  },
}

register(overlaySnapshotter)
