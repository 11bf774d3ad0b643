import { type AnyRegistration, defaultConfig, encodeConfig, formatDuration, uri } from '@containerd-ts/plugin'
import type { DaemonConfig } from './daemon-config.js'
import { configVersion } from './migrate.js'
import type { Table } from './toml.js'

/** The configuration as a TOML table of the newest version, with the defaults of every plugin filled in. */
export function configTable(config: DaemonConfig, registrations: readonly AnyRegistration[]): Table {
  const plugins: Record<string, Table> = { ...config.plugins }
  for (const registration of registrations) {
    if (registration.config === undefined) continue
    const name = uri(registration)
    const defaults = encodeConfig(registration.config, defaultConfig(registration.config))
    plugins[name] = { ...defaults, ...config.plugins[name] }
  }
  return {
    version: configVersion,
    root: config.root,
    state: config.state,
    temp: config.temp,
    plugin_dir: config.pluginDir === `${config.root}/plugins` ? '' : config.pluginDir,
    disabled_plugins: config.disabledPlugins,
    required_plugins: config.requiredPlugins,
    oom_score: config.oomScore,
    imports: [],
    cgroup: { path: config.cgroupPath },
    debug: { level: config.logLevel, format: config.logFormat },
    plugins: Object.fromEntries(Object.entries(plugins).sort(([a], [b]) => (a < b ? -1 : 1))),
    proxy_plugins: Object.fromEntries(config.proxyPlugins.map(({ name, ...proxy }) => [name, proxy])),
    timeouts: Object.fromEntries(Object.entries(config.timeoutsMs).map(([key, ms]) => [key, formatDuration(ms)])),
  }
}
