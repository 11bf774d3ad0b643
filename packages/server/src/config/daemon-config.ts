import { isAbsolute, resolve } from 'node:path'
import {
  type AnyRegistration,
  ConfigError,
  choice,
  decodeConfig,
  defaultConfig,
  encodeConfig,
  type Field,
  formatDuration,
  integer,
  list,
  parseDuration,
  text,
  uri,
} from '@containerd-ts/plugin'
import { type ConfiguredLevel, type LogFormat, logLevels } from '../log.js'
import type { ConfigDocument } from './load.js'
import { configVersion } from './migrate.js'
import { ConfigFileError, isTable, locate, type Table } from './toml.js'

/** Everything that is not a plugin's own. */
export interface DaemonConfig {
  /** Directory for what must survive a reboot. */
  root: string
  /** Directory for what need not survive a reboot. */
  state: string
  /** Directory for temporary files, exported as TMPDIR; empty leaves the environment alone. */
  temp: string
  disabledPlugins: readonly string[]
  requiredPlugins: readonly string[]
  /** Written to /proc/self/oom_score_adj unless 0. */
  oomScore: number
  /** The cgroup that the daemon joins; empty for none. */
  cgroupPath: string
  logLevel: ConfiguredLevel
  logFormat: LogFormat
  /** Time limits in milliseconds, by containerd's names. */
  timeoutsMs: Readonly<Record<string, number>>
  /** Raw sections by plugin URI. */
  plugins: Readonly<Record<string, Table>>
  /** Where a plugin's key stands in the files that were read. */
  locate(uri: string, key: string): string
}

/** What the command line sets over every file. */
export interface ConfigOverrides {
  root?: string
  state?: string
  address?: string
  logLevel?: ConfiguredLevel
}

const topLevel = {
  root: text({ default: '/var/lib/containerd', doc: 'Directory for persistent data.' }),
  state: text({ default: '/run/containerd', doc: 'Directory for volatile data.' }),
  temp: text({ default: '', doc: 'Directory for temporary files; created with mode 0700 and exported as TMPDIR.' }),
  disabled_plugins: list({ default: [], doc: 'URIs of plugins to leave out.' }),
  required_plugins: list({ default: [], doc: 'URIs of plugins without which the daemon must not start.' }),
  oom_score: integer({ default: 0, doc: 'OOM score adjustment of the daemon.' }),
  imports: list({ default: [], doc: 'Further configuration files; relative to this file, the last component may hold *.' }),
} as const

const cgroup = { path: text({ default: '', doc: 'The cgroup that the daemon joins.' }) } as const

const debug = {
  level: choice(['', ...logLevels], { default: '', doc: 'The least severe level that is logged; empty means info.' }),
  format: choice(['', 'text', 'json'], { default: '', doc: 'The form of log lines; empty means text.' }),
} as const

const defaultTimeoutsMs: Readonly<Record<string, number>> = {
  'io.containerd.timeout.bolt.open': 0,
  'io.containerd.timeout.metrics.shimstats': 2000,
  'io.containerd.timeout.shim.cleanup': 5000,
  'io.containerd.timeout.shim.load': 5000,
  'io.containerd.timeout.shim.shutdown': 3000,
  'io.containerd.timeout.task.checkpoint': 600_000,
  'io.containerd.timeout.task.operation': 120_000,
  'io.containerd.timeout.task.state': 2000,
}

// Known, and either meaningless here or read by no plugin yet: accepted in silence so that existing files load.
const accepted = new Set(['version', 'plugin_dir', 'plugins', 'timeouts', 'stream_processors', 'cgroup', 'debug'])

/**
 * The checked configuration.
 *
 * @throws ConfigFileError for values of the wrong type, naming file, line and key, and for directories that cannot work.
 */
export function daemonConfig(
  document: ConfigDocument,
  overrides: ConfigOverrides,
  warn: (message: string) => void = () => {},
): DaemonConfig {
  const { table, files } = document
  const where = (path: readonly string[]): string => {
    const found = files.map((file) => ({ file, at: locate(file, path) })).findLast(({ file, at }) => at !== file.path)
    return found?.at ?? files[0]?.path ?? 'configuration'
  }
  const decode = <C>(
    schema: { readonly [K in keyof C]: Field<C[K]> },
    raw: unknown,
    path: readonly string[],
    ignore: ReadonlySet<string>,
  ): C => {
    try {
      return decodeConfig(schema, raw, (key) => {
        if (!ignore.has(key)) warn(`${where([...path, key])}: unknown key ${[...path, key].join('.')} ignored`)
      })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      throw new ConfigFileError(`${where([...path, error.key])}: ${[...path, error.message].join('.')}`, { cause: error })
    }
  }
  const section = (key: string): Table => {
    const value = table[key] ?? {}
    if (!isTable(value)) throw new ConfigFileError(`${where([key])}: ${key}: expected a table`)
    return value
  }

  const top = decode<{ [K in keyof typeof topLevel]: (typeof topLevel)[K]['default'] }>(topLevel, table, [], accepted)
  const log = decode<{ level: '' | ConfiguredLevel; format: '' | LogFormat }>(
    debug,
    section('debug'),
    ['debug'],
    new Set(['log_trace_id']),
  )
  const { path: cgroupPath } = decode<{ path: string }>(cgroup, section('cgroup'), ['cgroup'], new Set())

  const timeoutsMs: Record<string, number> = { ...defaultTimeoutsMs }
  for (const [key, spelling] of Object.entries(section('timeouts'))) {
    const ms = typeof spelling === 'string' ? parseDuration(spelling) : undefined
    if (ms === undefined)
      throw new ConfigFileError(`${where(['timeouts', key])}: timeouts."${key}": expected a duration such as "5s"`)
    timeoutsMs[key] = ms
  }

  const plugins: Record<string, Table> = {}
  for (const [name, value] of Object.entries(section('plugins'))) {
    if (!isTable(value)) throw new ConfigFileError(`${where(['plugins', name])}: plugins."${name}": expected a table`)
    plugins[name] = value
  }
  for (const name of Object.keys(section('proxy_plugins'))) {
    warn(`${where(['proxy_plugins', name])}: proxy plugin "${name}" ignored: this daemon does not load proxy plugins`)
  }
  for (const name of top.disabled_plugins) {
    if (!name.includes('.'))
      throw new ConfigFileError(`${where(['disabled_plugins'])}: invalid disabled plugin URI ${name} expect io.containerd.x.vx`)
  }

  applyAddress(plugins, overrides.address)
  const root = directory('root', overrides.root ?? top.root)
  const state = directory('state', overrides.state ?? top.state)
  if (root === state) throw new ConfigFileError('root and state must be different paths')
  return {
    root,
    state,
    temp: top.temp,
    disabledPlugins: top.disabled_plugins,
    requiredPlugins: top.required_plugins,
    oomScore: top.oom_score,
    cgroupPath,
    logLevel: overrides.logLevel ?? (log.level || 'info'),
    logFormat: log.format || 'text',
    timeoutsMs,
    plugins,
    locate: (name, key) => where(['plugins', name, key]),
  }
}

function directory(key: string, path: string): string {
  if (path === '') throw new ConfigFileError(`${key} must be specified`)
  return isAbsolute(path) ? path : resolve(path)
}

/** `--address` moves the gRPC socket; the ttrpc socket follows unless it is configured. */
function applyAddress(plugins: Record<string, Table>, address: string | undefined): void {
  if (address === undefined) return
  const grpc = 'io.containerd.server.v1.grpc'
  const ttrpc = 'io.containerd.server.v1.ttrpc'
  plugins[grpc] = { ...plugins[grpc], address }
  plugins[ttrpc] ??= { ...plugins[grpc], address: `${address}.ttrpc` }
  delete plugins[ttrpc]?.['max_recv_message_size']
  delete plugins[ttrpc]?.['max_send_message_size']
}

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
    disabled_plugins: config.disabledPlugins,
    required_plugins: config.requiredPlugins,
    oom_score: config.oomScore,
    imports: [],
    cgroup: { path: config.cgroupPath },
    debug: { level: config.logLevel, format: config.logFormat },
    plugins: Object.fromEntries(Object.entries(plugins).sort(([a], [b]) => (a < b ? -1 : 1))),
    timeouts: Object.fromEntries(Object.entries(config.timeoutsMs).map(([key, ms]) => [key, formatDuration(ms)])),
  }
}
