import { join } from 'node:path'
import { type ConfigSchema, decodeConfig } from './config.js'
import { within } from './deadline.js'
import { ConfigError, isSkipPlugin, PluginError } from './errors.js'
import type { DaemonVersion, InitContext, PluginMeta, PluginStatus } from './init-context.js'
import type { Logger } from './log.js'
import { type AnyRegistration, uri } from './registry.js'
import { type InstanceOf, PluginType } from './types.js'

/** What plugins are initialised with. */
export interface LoadOptions {
  /** Directory under which each plugin's own persistent directory lies. */
  root: string
  /** Directory under which each plugin's own volatile directory lies. */
  state: string
  /** Raw configuration by plugin URI. */
  config?: Readonly<Record<string, unknown>>
  /** Where a key of a plugin's section stands, for error messages: for instance `/etc/containerd/config.toml:12`. */
  locateConfig?: (uri: string, key: string) => string
  /** URIs whose failure is the daemon's failure. */
  required?: readonly string[]
  address?: string
  ttrpcAddress?: string
  /**
   * How long `init` and `close` of a plugin may take, in milliseconds; undefined is for ever. An init that is late fails the plugin, and
   * what it gives back in the end is closed.
   */
  lifecycleTimeoutMs?: (uri: string) => number | undefined
  debug?: boolean
  /** Limits by the keys of the `[timeouts]` section. */
  timeoutsMs?: Readonly<Record<string, number>>
  daemon?: DaemonVersion
  log: Logger
  signal?: AbortSignal
}

/** The plugins of a running daemon. */
export interface PluginSet {
  plugins(): readonly PluginStatus[]
  get<T extends string>(type: T): InstanceOf<T>
  getAll<T extends string>(type: T): ReadonlyMap<string, InstanceOf<T>>
  /** Closes every instance that has a `close` method, last initialised first. Failures are logged. */
  close(): Promise<void>
}

/**
 * Initialises plugins one by one in the given order (see `graph`).
 *
 * @throws PluginError when a plugin of `required` is absent, failed or skipped itself; what was initialised is closed again.
 */
export async function load(order: readonly AnyRegistration[], options: LoadOptions): Promise<PluginSet> {
  const { log, required = [] } = options
  const absent = required.filter((name) => !order.some((r) => uri(r) === name))
  if (absent.length > 0) throw new PluginError(`required plugin [${absent.join(' ')}] not included`)

  options.signal?.throwIfAborted()
  const set = new LoadedPlugins(log, options.lifecycleTimeoutMs ?? (() => undefined))
  for (const registration of order) {
    const name = uri(registration)
    const error = await set.initialise(registration, options)
    if (options.signal?.aborted === true) {
      await set.close()
      throw options.signal.reason
    }
    if (error === undefined) continue
    if (required.includes(name)) {
      await set.close()
      throw new PluginError(`load required plugin ${name}: ${error.message}`, { cause: error })
    }
  }
  return set
}

class LoadedPlugins implements PluginSet {
  readonly #log: Logger
  readonly #timeoutMs: (uri: string) => number | undefined
  readonly #plugins: PluginStatus[] = []

  constructor(log: Logger, timeoutMs: (uri: string) => number | undefined) {
    this.#log = log
    this.#timeoutMs = timeoutMs
  }

  async initialise(registration: AnyRegistration, options: LoadOptions): Promise<Error | undefined> {
    const name = uri(registration)
    const meta: PluginMeta = { platforms: [], exports: {}, capabilities: [] }
    const entry = {
      type: registration.type,
      id: registration.id,
      requires: [...(registration.requires ?? []), ...(registration.after ?? [])],
      meta,
    }
    const log = options.log.with({ plugin: name })
    const started = performance.now()
    try {
      const config = this.#config(name, registration.config ?? {}, options)
      const instance = await this.#init(registration, options, config, meta, log)
      this.#plugins.push({ ...entry, instance })
      log.info('loaded plugin', { ms: Math.round(performance.now() - started) })
      return undefined
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      this.#plugins.push({ ...entry, error })
      if (isSkipPlugin(error)) log.info('skipped plugin', { reason: error.message })
      else log.warn('failed to load plugin', { error })
      return error
    }
  }

  async #init(
    registration: AnyRegistration,
    options: LoadOptions,
    config: unknown,
    meta: PluginMeta,
    log: Logger,
  ): Promise<unknown> {
    const name = uri(registration)
    const late = new AbortController()
    const signal = options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal])
    const context = this.#context(registration, { ...options, signal }, config, meta, log)
    const making = (async (): Promise<unknown> => registration.init(context))()
    try {
      return await within(making, { timeoutMs: this.#timeoutMs(name), signal: options.signal, what: `init of plugin "${name}"` })
    } catch (error) {
      late.abort(error)
      // When it comes after all, nobody else would close it.
      making.then(
        (instance) => this.#close(name, instance),
        () => {},
      )
      throw error
    }
  }

  #config(name: string, schema: ConfigSchema<unknown>, options: LoadOptions): unknown {
    const locate = options.locateConfig ?? (() => `[plugins."${name}"]`)
    try {
      return decodeConfig(schema, options.config?.[name])
    } catch (error) {
      if (error instanceof ConfigError) error.message = `${locate(name, error.key)}: ${error.message}`
      throw error
    }
  }

  #context(registration: AnyRegistration, options: LoadOptions, config: unknown, meta: PluginMeta, log: Logger): InitContext {
    const name = uri(registration)
    const set = this
    return {
      root: join(options.root, name),
      state: join(options.state, name),
      config,
      address: options.address ?? '',
      ttrpcAddress: options.ttrpcAddress ?? '',
      debug: options.debug ?? false,
      timeoutMs: (key) => options.timeoutsMs?.[key] ?? 1000,
      daemon: options.daemon ?? { version: 'v0.0.0', revision: 'unknown' },
      log,
      signal: options.signal ?? new AbortController().signal,
      meta,
      get events() {
        return set.get(PluginType.Event)
      },
      get: (type) => set.get(type),
      getById: (type, id) => set.getById(type, id),
      getAll: (type) => set.getAll(type),
      plugins: () => set.plugins(),
    }
  }

  plugins(): readonly PluginStatus[] {
    return this.#plugins
  }

  get<T extends string>(type: T): InstanceOf<T> {
    const all = this.#plugins.filter((p) => p.type === type)
    const working = all.filter((p) => p.error === undefined)
    if (working.length > 1) {
      const ids = working.map((p) => p.id).join(', ')
      throw new PluginError(`several plugins of type "${type}": ${ids}; name all but one in disabled_plugins`)
    }
    const [only] = working
    if (only === undefined) throw unavailable(type, all)
    return only.instance as InstanceOf<T>
  }

  getById<T extends string>(type: T, id: string): InstanceOf<T> {
    const all = this.#plugins.filter((p) => p.type === type && p.id === id)
    const working = all.find((p) => p.error === undefined)
    if (working === undefined) throw unavailable(`${type}.${id}`, all)
    return working.instance as InstanceOf<T>
  }

  getAll<T extends string>(type: T): ReadonlyMap<string, InstanceOf<T>> {
    const working = this.#plugins.filter((p) => p.type === type && p.error === undefined)
    return new Map(working.map((p) => [p.id, p.instance as InstanceOf<T>]))
  }

  async close(): Promise<void> {
    for (const plugin of this.#plugins.splice(0).reverse()) await this.#close(uri(plugin), plugin.instance)
  }

  async #close(name: string, instance: unknown): Promise<void> {
    if (!isCloseable(instance)) return
    try {
      const closing = (async () => instance.close())()
      await within(closing, { timeoutMs: this.#timeoutMs(name), what: `close of plugin "${name}"` })
    } catch (error) {
      this.#log.error('failed to close plugin', { plugin: name, error })
    }
  }
}

function isCloseable(instance: unknown): instance is { close(): unknown } {
  return typeof instance === 'object' && instance !== null && 'close' in instance && typeof instance.close === 'function'
}

function unavailable(what: string, candidates: readonly PluginStatus[]): PluginError {
  const [failed] = candidates
  if (failed?.error === undefined) return new PluginError(`no plugin "${what}" is loaded`)
  return new PluginError(`plugin "${uri(failed)}" did not load: ${failed.error.message}`, { cause: failed.error })
}
