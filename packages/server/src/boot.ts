import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Listener } from '@containerd-ts/interface'
import {
  type AnyRegistration,
  type DaemonVersion,
  defaultRegistry,
  graph,
  type Logger,
  load,
  type PluginSet,
  PluginType,
  uri,
} from '@containerd-ts/plugin'
import { joinCgroup } from './cgroup.js'
import { type ConfigOverrides, type DaemonConfig, daemonConfig } from './config/daemon-config.js'
import { type ExternalPlugin, type ExternalPluginOptions, loadExternalPlugins } from './external/load.js'
import { createLogger } from './log.js'
import { notifyServiceManager } from './notify.js'
import { proxyRegistrations } from './proxy.js'
import { lockRoot } from './root-lock.js'

export interface ServeOptions {
  /** Default: standard error, in the form and from the level that the configuration says. */
  log?: Logger
  /** Default: what importing plugin packages has registered. */
  registrations?: readonly AnyRegistration[]
  /** What the daemon answers when asked for its version. */
  daemon?: DaemonVersion
  /** Stops the boot; a daemon that runs already is stopped with `close()`. */
  signal?: AbortSignal
}

/** A configuration without a file. */
export interface EmbeddedConfig extends ConfigOverrides {
  /** Sections by plugin URI, with the keys of a file's `[plugins."<uri>"]`. */
  plugins?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export interface Daemon {
  readonly plugins: PluginSet
  /** Stops listeners, closes plugins in reverse order and releases the root. Containers go on. */
  close(): Promise<void>
}

/**
 * Boots a daemon: directories, lock, plugins in graph order, listeners.
 *
 *     await serve({ root: '/var/lib/example', state: '/run/example', address: '/run/example/containerd.sock' })
 *
 * @throws RootInUseError, PluginError, ConfigFileError; what was opened is closed again.
 */
export async function serve(config: DaemonConfig | EmbeddedConfig, options: ServeOptions = {}): Promise<Daemon> {
  return boot('locate' in config ? config : embedded(config), options)
}

function embedded({ plugins = {}, ...overrides }: EmbeddedConfig): DaemonConfig {
  return daemonConfig({ table: { plugins }, files: [] }, overrides)
}

async function boot(config: DaemonConfig, options: ServeOptions): Promise<Daemon> {
  const { signal, log = createLogger({ level: config.logLevel, format: config.logFormat }) } = options
  const started = performance.now()
  await makeDirectory(config.root, 0o700)
  await makeDirectory(config.state, 0o711)
  const lock = lockRoot(config.root)
  let plugins: PluginSet | undefined
  try {
    await prepareProcess(config, log)
    const builtin = [...(options.registrations ?? defaultRegistry().list()), ...proxyRegistrations(config.proxyPlugins)]
    const found = await externalPlugins(config, { registrations: builtin, log, ...(signal && { signal }) })
    const external = found.map(({ registration }) => registration)
    const outside = new Set(external.map(uri))
    const registrations = [...builtin, ...external]
    const order = graph(registrations, { disabled: config.disabledPlugins })
    const listenerUris = order.filter((r) => r.type === PluginType.Server && (r.id === 'grpc' || r.id === 'ttrpc')).map(uri)
    const address = addressOf(config, 'grpc', registrations)
    plugins = await load(order, {
      root: config.root,
      state: config.state,
      config: config.plugins,
      locateConfig: config.locate,
      // A daemon that cannot be reached is of no use.
      required: [...config.requiredPlugins, ...listenerUris],
      address,
      // What comes with the daemon may wait, for instance for a lock. The rest must not keep the daemon from starting or stopping.
      lifecycleTimeoutMs: (name) => (outside.has(name) ? config.timeoutsMs[pluginTimeout] : undefined),
      ttrpcAddress: addressOf(config, 'ttrpc', registrations),
      debug: config.logLevel === 'debug' || config.logLevel === 'trace',
      timeoutsMs: config.timeoutsMs,
      log,
      ...(options.daemon && { daemon: options.daemon }),
      ...(options.signal && { signal: options.signal }),
    })
    await startListeners(plugins.getAll(PluginType.Server))
    options.signal?.throwIfAborted()
  } catch (error) {
    await plugins?.close()
    lock.release()
    throw error
  }
  notifyServiceManager('READY=1', log)
  log.info(`containerd successfully booted in ${((performance.now() - started) / 1000).toFixed(6)}s`)

  const running = plugins
  let closing: Promise<void> | undefined
  return {
    plugins: running,
    close() {
      closing ??= (async () => {
        notifyServiceManager('STOPPING=1', log)
        await running.close()
        lock.release()
      })()
      return closing
    },
  }
}

const pluginTimeout = 'io.containerd.timeout.plugin.load'

/**
 * The plugins from outside that a configuration leads to: what lies in its directory of plugins. Their code is loaded, nothing is
 * initialised. None can make this fail, see `loadExternalPlugins`.
 */
export function externalPlugins(
  config: DaemonConfig,
  options: Pick<ExternalPluginOptions, 'registrations' | 'log' | 'signal'>,
): Promise<ExternalPlugin[]> {
  const timeoutMs = config.timeoutsMs[pluginTimeout]
  return loadExternalPlugins(config.pluginDir, {
    ...options,
    disabled: config.disabledPlugins,
    ...(timeoutMs !== undefined && { timeoutMs }),
  })
}

async function startListeners(listeners: ReadonlyMap<string, Listener>): Promise<void> {
  for (const listener of listeners.values()) await listener.start()
}

async function makeDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode })
  await chmod(path, mode).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPERM') throw error
  })
}

async function prepareProcess(config: DaemonConfig, log: Logger): Promise<void> {
  if (config.temp !== '') {
    const temp = resolve(config.temp)
    await makeDirectory(temp, 0o700)
    process.env['TMPDIR'] = temp
  }
  if (config.oomScore !== 0) {
    await writeFile('/proc/self/oom_score_adj', String(config.oomScore)).catch((error) =>
      log.warn('cannot set the OOM score', { error }),
    )
  }
  if (config.cgroupPath !== '') await joinCgroup(config.cgroupPath)
}

/** The socket that a listener will have: shims and plugins need it before it is open. */
function addressOf(config: DaemonConfig, id: 'grpc' | 'ttrpc', registrations: readonly AnyRegistration[]): string {
  const name = `${PluginType.Server}.${id}`
  const listener = registrations.find((r) => uri(r) === name)
  if (listener === undefined) return ''
  const configured = config.plugins[name]?.['address']
  return typeof configured === 'string' && configured !== '' ? configured : String(listener.config?.['address']?.default ?? '')
}
