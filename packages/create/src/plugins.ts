/** A plugin that a new daemon can have. */
export interface PluginChoice {
  /** What it is for, in a few words. */
  readonly what: string
  /** Others that it is of no use without. */
  readonly needs?: readonly string[]
}

/** By the name of the package, without its scope. */
export const plugins: Readonly<Record<string, PluginChoice>> = {
  'content-local': { what: 'blobs on a local filesystem' },
  'events-exchange': { what: 'events between plugins' },
  'metadata-level': { what: 'names, labels, leases', needs: ['content-local', 'events-exchange'] },
  'gc-scheduler': { what: 'garbage collection', needs: ['metadata-level'] },
  'snapshot-overlay': { what: 'snapshots on overlayfs' },
  'snapshot-native': { what: 'snapshots as copies' },
  'snapshot-btrfs': { what: 'snapshots on btrfs' },
  'differ-walking': { what: 'layers to trees and back', needs: ['metadata-level'] },
  'image-verifier': { what: 'programs that say which images may be pulled' },
  'metrics-cgroups': { what: 'metrics of containers' },
  'restart-monitor': { what: 'containers that are started again', needs: ['metadata-level', 'runtime-linux'] },
  'runtime-linux': { what: 'containers through shims', needs: ['events-exchange', 'service-events'] },
  'service-containers': { what: 'the Containers service', needs: ['metadata-level'] },
  'service-content': { what: 'the Content service', needs: ['metadata-level'] },
  'service-diff': { what: 'the Diff service', needs: ['differ-walking'] },
  'service-events': { what: 'the Events service', needs: ['events-exchange'] },
  'service-healthcheck': { what: 'the health service of gRPC' },
  'service-images': { what: 'the Images service', needs: ['metadata-level', 'gc-scheduler'] },
  'service-introspection': { what: 'the Introspection service: ctr plugins ls' },
  'service-leases': { what: 'the Leases service', needs: ['metadata-level', 'gc-scheduler'] },
  'service-namespaces': { what: 'the Namespaces service', needs: ['metadata-level'] },
  'service-snapshots': { what: 'the Snapshots service', needs: ['metadata-level'] },
  'service-streaming': { what: 'the Streaming service' },
  'service-tasks': { what: 'the Tasks service', needs: ['metadata-level', 'runtime-linux'] },
  'service-transfer': { what: 'the Transfer service', needs: ['service-streaming', 'transfer'] },
  'service-version': { what: 'the Version service' },
  transfer: { what: 'images from and to registries', needs: ['metadata-level', 'differ-walking'] },
}

/** Sets of plugins with a name. */
export const presets: Readonly<Record<string, readonly string[]>> = {
  content: ['service-content', 'service-namespaces', 'service-leases'],
  images: [
    'service-content',
    'service-namespaces',
    'service-leases',
    'service-images',
    'service-snapshots',
    'service-diff',
    'service-events',
    'service-transfer',
    'snapshot-overlay',
    'snapshot-native',
  ],
  full: Object.keys(plugins),
}

// Whoever looks at the daemon needs these.
const always = ['service-introspection', 'service-version']

/**
 * The plugins that `names`, of plugins or presets, stand for, with what they need, in the order of the table.
 *
 * @throws Error for a name that is neither.
 */
export function choose(names: readonly string[]): string[] {
  const chosen = new Set<string>()
  const add = (name: string): void => {
    const plugin = plugins[name]
    if (plugin === undefined)
      throw new Error(`there is no plugin or preset "${name}": \`npm create @containerd-ts -- --list\` shows them`)
    if (chosen.has(name)) return
    chosen.add(name)
    for (const needed of plugin.needs ?? []) add(needed)
  }
  for (const name of [...names.flatMap((name) => presets[name] ?? [name]), ...always]) add(name)
  return Object.keys(plugins).filter((name) => chosen.has(name))
}
