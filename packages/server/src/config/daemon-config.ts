import { isAbsolute, join, resolve } from 'node:path'
import { type ConfigSchema, closest, inspectConfig, parseDuration } from '@containerd-ts/plugin'
import type { ConfiguredLevel, LogFormat } from '../log.js'
import type { ConfigDocument } from './load.js'
import { formerPaths } from './migrate.js'
import { cgroupTable, debugTable, type ProxyType, proxyTable, proxyTypes, timeouts, topLevel, withoutEffect } from './schema.js'
import { ConfigFileError, isTable, locate, type Table } from './toml.js'

/** A snapshotter, content store or differ that another process serves. */
export interface ProxyPlugin {
  /** The id of the plugin, and the name that the other process is asked for. */
  name: string
  type: ProxyType
  /** Path of a unix socket. */
  address: string
  /** `os/architecture`; empty for that of the machine. */
  platform: string
  exports: Readonly<Record<string, string>>
  capabilities: readonly string[]
}

/** Everything that is not a plugin's own. */
export interface DaemonConfig {
  /** Directory for what must survive a reboot. */
  root: string
  /** Directory for what need not survive a reboot. */
  state: string
  /** Directory for temporary files, exported as TMPDIR; empty leaves the environment alone. */
  temp: string
  /** Directory of plugins from outside. */
  pluginDir: string
  disabledPlugins: readonly string[]
  requiredPlugins: readonly string[]
  proxyPlugins: readonly ProxyPlugin[]
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

/** Something that is wrong with a configuration, or of no use in it. The message begins with file and line. */
export interface ConfigProblem {
  readonly severity: 'error' | 'warning'
  readonly message: string
}

/**
 * The checked configuration. `warn` hears of what has no effect.
 *
 * @throws ConfigFileError for the first unknown key, value of the wrong type or directory that cannot work, naming file, line and key.
 */
export function daemonConfig(
  document: ConfigDocument,
  overrides: ConfigOverrides,
  warn: (message: string) => void = () => {},
): DaemonConfig {
  return readConfig(document, overrides, ({ severity, message }) => {
    if (severity === 'error') throw new ConfigFileError(message)
    warn(message)
  })
}

/** As {@link daemonConfig}; `report` hears of every problem, and what is wrong is at its default. */
export function readConfig(
  document: ConfigDocument,
  overrides: ConfigOverrides,
  report: (problem: ConfigProblem) => void,
): DaemonConfig {
  const { table } = document
  const where = locator(document)
  const error = (path: readonly string[], message: string) => report({ severity: 'error', message: `${where(path)}: ${message}` })
  const warning = (path: readonly string[], message: string) =>
    report({ severity: 'warning', message: `${where(path)}: ${message}` })

  const decode = <C>(schema: ConfigSchema<C>, raw: unknown, path: readonly string[], alsoKnown: readonly string[] = []): C => {
    const { config, problems } = inspectConfig(schema, raw, '', alsoKnown)
    for (const problem of problems) {
      const at = [...path, ...problem.key.split('.')]
      const reason = withoutEffect[at.join('.')]
      if (reason !== undefined) warning(at, `${at.join('.')} has no effect: ${reason}`)
      else error(at, [...path, problem.message].join('.'))
    }
    return config
  }
  const section = (key: string): Table => {
    const value = table[key] ?? {}
    if (isTable(value)) return value
    error([key], `${key}: expected a table`)
    return {}
  }

  const own = Object.entries(table).filter(([key]) => !tables.includes(key))
  const top = decode<DecodedTop>(topLevel, Object.fromEntries(own), [], tables)
  const log = decode<{ level: '' | ConfiguredLevel; format: '' | LogFormat }>(debugTable, section('debug'), ['debug'])
  const { path: cgroupPath } = decode<{ path: string }>(cgroupTable, section('cgroup'), ['cgroup'])

  const timeoutsMs = Object.fromEntries(Object.entries(timeouts).map(([key, { defaultMs }]) => [key, defaultMs]))
  for (const [key, spelling] of Object.entries(section('timeouts'))) {
    const ms = typeof spelling === 'string' ? parseDuration(spelling) : undefined
    if (ms === undefined) error(['timeouts', key], `timeouts."${key}": expected a duration such as "5s"`)
    else timeoutsMs[key] = ms
    if (!(key in timeouts))
      warning(['timeouts', key], `timeouts."${key}" is no limit that this daemon knows${meant(key, Object.keys(timeouts))}`)
  }

  const plugins: Record<string, Table> = {}
  for (const [name, value] of Object.entries(section('plugins'))) {
    if (isTable(value)) plugins[name] = value
    else error(['plugins', name], `plugins."${name}": expected a table`)
  }

  // The differ runs them; it checks what they are.
  const processors = section('stream_processors')
  if (Object.keys(processors).length > 0) plugins[walkingDiffer] = { stream_processors: processors, ...plugins[walkingDiffer] }

  const proxyPlugins: ProxyPlugin[] = []
  for (const [name, raw] of Object.entries(section('proxy_plugins'))) {
    const path = ['proxy_plugins', name]
    if (isTable(raw) && (raw['type'] === 'sandbox' || raw['type'] === 'io.containerd.sandbox.controller.v1')) {
      warning(path, `proxy plugin "${name}" ignored: sandbox controllers are not offered`)
      continue
    }
    const { type, ...proxy } = decode<DecodedProxy>(proxyTable, raw, path)
    const pluginType = proxyTypeOf(type)
    for (const [key, value] of Object.entries({ type, address: proxy.address })) {
      if (value === '' && isTable(raw) && (raw[key] === undefined || raw[key] === ''))
        error(path, `proxy_plugins.${name}: ${key} must be given`)
    }
    if (proxy.address !== '' && !isAbsolute(proxy.address))
      error([...path, 'address'], `proxy_plugins.${name}.address: expected an absolute path`)
    if (pluginType !== undefined) proxyPlugins.push({ name, type: pluginType, ...proxy })
  }

  for (const [key, names] of [
    ['disabled_plugins', top.disabled_plugins],
    ['required_plugins', top.required_plugins],
  ] as const) {
    for (const name of names) {
      if (name.includes('.')) continue
      error([key], `invalid ${key === 'disabled_plugins' ? 'disabled' : 'required'} plugin URI ${name} expect io.containerd.x.vx`)
    }
  }

  applyAddress(plugins, overrides.address)
  const root = directory(overrides.root ?? top.root)
  const state = directory(overrides.state ?? top.state)
  if (root === '') error(['root'], 'root must be specified')
  if (state === '') error(['state'], 'state must be specified')
  if (root === state && root !== '') error(['state'], 'root and state must be different paths')
  return {
    root,
    state,
    temp: top.temp,
    pluginDir: directory(top.plugin_dir) || join(root, 'plugins'),
    disabledPlugins: top.disabled_plugins,
    requiredPlugins: top.required_plugins,
    proxyPlugins,
    oomScore: top.oom_score,
    cgroupPath,
    logLevel: overrides.logLevel ?? (log.level || 'info'),
    logFormat: log.format || 'text',
    timeoutsMs,
    plugins,
    locate: (name, key) => where(['plugins', name, ...key.split('.')]),
  }
}

const walkingDiffer = 'io.containerd.differ.v1.walking'
const tables: readonly string[] = ['version', 'cgroup', 'debug', 'plugins', 'proxy_plugins', 'stream_processors', 'timeouts']

type DecodedTop = { -readonly [K in keyof typeof topLevel]: (typeof topLevel)[K]['default'] }
type DecodedProxy = { -readonly [K in keyof typeof proxyTable]: (typeof proxyTable)[K]['default'] }

/** ` (did you mean "x"?)` where one of the candidates is near. */
export function meant(word: string, candidates: Iterable<string>): string {
  const near = closest(word, candidates)
  return near === undefined ? '' : `; did you mean "${near}"?`
}

function proxyTypeOf(type: string): ProxyType | undefined {
  return Object.entries(proxyTypes).find(([short, full]) => type === short || type === full)?.[1]
}

/** Finds where a key stands, under its spelling in the newest version or an older one; the last file that has it is in effect. */
function locator({ files }: ConfigDocument): (path: readonly string[]) => string {
  return (path) => {
    const spellings = [path, ...formerPaths(path)]
    for (const file of files.toReversed()) {
      for (const spelling of spellings) {
        const at = locate(file, spelling)
        if (at !== undefined) return at
      }
    }
    // A table in one line, a key within a value: the nearest thing around it.
    if (path.length > 1) return locator({ table: {}, files })(path.slice(0, -1))
    return files[0]?.path ?? 'configuration'
  }
}

function directory(path: string): string {
  return path === '' || isAbsolute(path) ? path : resolve(path)
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
