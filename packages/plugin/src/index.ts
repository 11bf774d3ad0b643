/** The plugin system: register plugins, order them, initialise them with typed access to one another. */
export { pluginApiVersion } from './api-version.js'
export { closest } from './closest.js'
export {
  type ConfigOf,
  type ConfigSchema,
  choice,
  decodeConfig,
  defaultConfig,
  durationMs,
  encodeConfig,
  type Field,
  flag,
  formatDuration,
  inspectConfig,
  integer,
  list,
  number,
  parseDuration,
  record,
  table,
  tables,
  text,
} from './config.js'
export { DeadlineError, type WithinOptions, within } from './deadline.js'
export { ConfigError, isSkipPlugin, PluginError, SkipPlugin } from './errors.js'
export { type GraphOptions, graph } from './graph.js'
export type { DaemonVersion, InitContext, PluginMeta, PluginPlatform, PluginStatus } from './init-context.js'
export { type LoadOptions, load, type PluginSet } from './load.js'
export { type LogFields, type Logger, type LogLevel, silentLogger } from './log.js'
export { type AnyRegistration, defaultRegistry, definePlugin, type Registration, Registry, register, uri } from './registry.js'
export { type InstanceOf, type PluginInstances, PluginType } from './types.js'
