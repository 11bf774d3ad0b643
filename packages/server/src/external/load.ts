import { type AnyRegistration, graph, type Logger, PluginError, pluginApiVersion, uri } from '@containerd-ts/plugin'
import satisfies from 'semver/functions/satisfies.js'
import validRange from 'semver/ranges/valid.js'
import { type FoundPlugin, findPlugins } from './find.js'
import { importRegistrations } from './import.js'
import { type TrustCheck, trustCheck } from './trust.js'

/** The plugin type under which a plugin from outside is listed that could not be loaded far enough to know its own. */
export const externalPluginType = 'io.containerd.external.v1'

/** What plugins from outside are loaded into. */
export interface ExternalPluginOptions {
  /** What the daemon has already: their names are taken. */
  registrations: readonly AnyRegistration[]
  /** URIs that will be left out. */
  disabled?: readonly string[]
  /** How long loading a module may take, in milliseconds. */
  timeoutMs?: number
  signal?: AbortSignal
  log: Logger
}

/** A plugin from outside that was found, loaded or not. */
export interface ExternalPlugin {
  readonly registration: AnyRegistration
  /** Package and version, or the path of the file. */
  readonly source: string
  /** Why it was refused; the registration's `init` throws the same. */
  readonly error?: Error
}

/**
 * Loads the plugins of a directory. None can make this fail: one that is not to be trusted, was made for another plugin API, throws,
 * hangs, takes a name that is taken or requires what is not there is given back as a registration whose `init` throws the reason. One
 * that `disabled` names as `io.containerd.external.v1.<package or file>` is not even loaded.
 */
export async function loadExternalPlugins(directory: string, options: ExternalPluginOptions): Promise<ExternalPlugin[]> {
  const accepted: ExternalPlugin[] = []
  const taken = new Map(options.registrations.map((r) => [uri(r), 'this daemon']))
  const refuse = (plugin: FoundPlugin, error: Error, registration?: AnyRegistration) => {
    const { type, id } = registration ?? { type: externalPluginType, id: free(plugin.name, taken) }
    const name = uri({ type, id })
    taken.set(name, sourceOf(plugin))
    options.log.error('refused a plugin from outside', { plugin: name, source: sourceOf(plugin), reason: error.message })
    accepted.push(failed(type, id, error, sourceOf(plugin)))
  }

  const check = trustCheck(directory)
  let found: FoundPlugin[] = []
  try {
    found = await findPlugins(directory)
  } catch (thrown) {
    refuse({ name: 'plugins', entry: directory }, asError(thrown))
  }
  for (const plugin of found) {
    options.signal?.throwIfAborted()
    if (options.disabled?.includes(uri({ type: externalPluginType, id: plugin.name }))) continue
    try {
      for (const registration of await loadOne(plugin, check, options)) {
        const name = uri(registration)
        const owner = taken.get(name)
        if (owner !== undefined) {
          refuse(plugin, nameTaken(name, owner))
          continue
        }
        const incompatible = incompatibility(registration.api ?? plugin.api)
        if (incompatible !== undefined) {
          refuse(plugin, new PluginError(incompatible), registration)
          continue
        }
        taken.set(name, sourceOf(plugin))
        accepted.push({ registration: withSource(registration, sourceOf(plugin)), source: sourceOf(plugin) })
        options.log.info('found a plugin from outside', { plugin: name, source: sourceOf(plugin) })
      }
    } catch (thrown) {
      if (options.signal?.aborted === true) throw thrown
      // A module that registers its plugins itself hears of a taken name while it is loaded.
      const [name = ''] = thrown instanceof PluginError ? thrown.plugins : []
      const owner = taken.get(name)
      refuse(plugin, owner === undefined ? asError(thrown) : nameTaken(name, owner))
    }
  }
  return withoutMisfits(accepted, options)
}

function nameTaken(name: string, owner: string): PluginError {
  return new PluginError(`the name "${name}" is taken by ${owner}: this plugin needs another id`, { plugins: [name] })
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

/** An id for a module that has none of its own: its name, with a number where several are meant. */
function free(name: string, taken: ReadonlyMap<string, string>): string {
  let id = name
  for (let n = 2; taken.has(uri({ type: externalPluginType, id })); n++) id = `${name}#${n}`
  return id
}

async function loadOne(plugin: FoundPlugin, check: TrustCheck, options: ExternalPluginOptions): Promise<AnyRegistration[]> {
  if (plugin.problem !== undefined) throw new PluginError(plugin.problem)
  const distrust = await check(plugin)
  if (distrust !== undefined) throw new PluginError(distrust)
  // A package says what it was made for before any of its code is run.
  if (plugin.directory !== undefined) {
    const incompatible = incompatibility(plugin.api)
    if (incompatible !== undefined) throw new PluginError(incompatible)
  }
  return importRegistrations(plugin.entry, options)
}

/** Why a plugin made for a range of plugin API versions does not fit this daemon, and what to do; undefined when it does. */
export function incompatibility(range: string | undefined): string | undefined {
  const major = pluginApiVersion.split('.')[0]
  if (range === undefined)
    return `it does not say which plugin API it was made for: declare "containerd": { "pluginApi": "^${pluginApiVersion}" } in its package.json, or api: '^${pluginApiVersion}' in its registration`
  if (validRange(range) === null)
    return `its plugin API range "${range}" is no version range: write for instance "^${pluginApiVersion}"`
  if (satisfies(pluginApiVersion, range)) return undefined
  return `it was made for plugin API ${range}, this daemon has ${pluginApiVersion}: install a version of it for plugin API ${major}, or a daemon whose plugin API satisfies ${range}`
}

function sourceOf({ name, version, directory, entry }: FoundPlugin): string {
  return directory === undefined ? entry : `${name}@${version}`
}

/** Lets introspection show where the plugin comes from. */
function withSource(registration: AnyRegistration, source: string): AnyRegistration {
  return {
    ...registration,
    init(ic) {
      ic.meta.exports['source'] = source
      return registration.init(ic)
    },
  }
}

function failed(type: string, id: string, error: Error, source: string): ExternalPlugin {
  const registration: AnyRegistration = {
    type,
    id,
    init() {
      throw error
    },
  }
  return { registration: withSource(registration, source), source, error }
}

/** Replaces plugins that cannot be ordered (a requirement that is not there, a circle) by failed ones of the same name. */
function withoutMisfits(
  external: readonly ExternalPlugin[],
  { registrations, disabled = [], log }: ExternalPluginOptions,
): ExternalPlugin[] {
  let fitting = [...external]
  for (;;) {
    try {
      graph([...registrations, ...fitting.map((plugin) => plugin.registration)], { disabled })
      return fitting
    } catch (error) {
      if (!(error instanceof PluginError)) throw error
      const isMisfit = (plugin: ExternalPlugin) => plugin.error === undefined && error.plugins.includes(uri(plugin.registration))
      // Otherwise the daemon's own plugins do not fit together: that is for the daemon to say.
      if (!fitting.some(isMisfit)) return fitting
      fitting = fitting.map((plugin) => {
        if (!isMisfit(plugin)) return plugin
        const { type, id } = plugin.registration
        log.error('refused a plugin from outside', {
          plugin: uri(plugin.registration),
          source: plugin.source,
          reason: error.message,
        })
        return failed(type, id, error, plugin.source)
      })
    }
  }
}
