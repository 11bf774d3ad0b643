/** Boots a daemon from plugins: configuration, plugin graph, listeners. Importing registers nothing; `./listeners` and `./grpc` do. */
export { type Daemon, type EmbeddedConfig, externalPlugins, type ServeOptions, serve } from './boot.js'
export { type CheckedConfig, checkConfig } from './config/check.js'
export { configTable } from './config/config-table.js'
export {
  type ConfigOverrides,
  type ConfigProblem,
  type DaemonConfig,
  daemonConfig,
  type ProxyPlugin,
} from './config/daemon-config.js'
export { type ConfigDocument, type LoadConfigOptions, loadConfigFile } from './config/load.js'
export { migrate } from './config/migrate.js'
export { printToml } from './config/print.js'
export { configReference } from './config/reference.js'
export { ConfigFileError } from './config/toml.js'
export { type FoundPlugin, findPlugins } from './external/find.js'
export { type ExternalPlugin, type ExternalPluginOptions, externalPluginType, loadExternalPlugins } from './external/load.js'
export { type GrpcServerOptions, grpcListener, grpcMetrics, grpcServer } from './grpc/listener.js'
export { debugListener, metricsListener } from './http.js'
export { type ConfiguredLevel, createLogger, type LogFormat, type LogOptions, logLevels } from './log.js'
export { proxyRegistrations } from './proxy.js'
export { lockRoot, RootInUseError } from './root-lock.js'
export { ttrpcListener } from './ttrpc.js'
export type { SocketOwner } from './unix-socket.js'
