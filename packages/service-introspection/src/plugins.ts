import type { Plugin } from '@containerd-ts/api/containerd/services/introspection/v1/introspection'
import { toStatus } from '@containerd-ts/interface'
import type { PluginStatus } from '@containerd-ts/plugin'

/** A plugin as the API shows it. */
export function pluginEntry(plugin: PluginStatus): Plugin {
  return {
    type: plugin.type,
    id: plugin.id,
    requires: [...plugin.requires],
    platforms: plugin.meta.platforms.map((p) => ({
      os: p.os,
      architecture: p.architecture,
      variant: p.variant ?? '',
      osVersion: '',
      osFeatures: [],
    })),
    exports: plugin.meta.exports,
    capabilities: [...plugin.meta.capabilities],
    initErr: plugin.error === undefined ? undefined : { ...toStatus(plugin.error), details: [] },
  }
}

/** Fields that filters understand. */
export function pluginField(plugin: PluginStatus) {
  return ([field]: readonly string[]): string | undefined =>
    field === 'type' ? plugin.type : field === 'id' ? plugin.id : undefined
}
