import type { ConfigSchema } from './config.js'
import { PluginError } from './errors.js'
import type { InitContext } from './init-context.js'
import type { InstanceOf } from './types.js'

/**
 * A plugin: what it is, what it needs and how to make it.
 *
 * `requires` names plugin types. All plugins of those types are initialised before, and at least one must be registered. `after`
 * orders in the same way without demanding presence. `*` in either means after everything else and stands alone.
 */
export interface Registration<T extends string = string, C = unknown> {
  readonly type: T
  readonly id: string
  readonly requires?: readonly string[]
  readonly after?: readonly string[]
  /**
   * The range of {@link pluginApiVersion} that the plugin was made for, for instance `^1.0.0`. Needed where a daemon loads the plugin
   * from outside and no manifest says it.
   */
  readonly api?: string
  /** The configuration keys, under `[plugins."<type>.<id>"]`. Without it the plugin takes no configuration. */
  readonly config?: ConfigSchema<C>
  /**
   * Makes the plugin. Called once, after everything required is there. An instance with a `close()` method is closed when the daemon
   * stops, in the reverse order.
   *
   * @throws SkipPlugin when it cannot work on this machine; any other error marks this plugin failed and the daemon goes on.
   */
  init(context: InitContext<C>): InstanceOf<T> | Promise<InstanceOf<T>>
}

/**
 * Gives the registration back as it is; it lets TypeScript derive the types of `ic.config` and of what `init` must give back.
 *
 *     export const plugin = definePlugin({
 *       type: PluginType.Snapshotter,
 *       id: 'example',
 *       config: { path: text({ default: '', doc: 'Directory of the trees.' }) },
 *       init: (ic) => openSnapshotter(ic.config.path || ic.root),
 *     })
 */
export function definePlugin<T extends string, C = unknown>(registration: Registration<T, C>): Registration<T, C> {
  return registration
}

/** A registration of any type and configuration. */
// biome-ignore lint/suspicious/noExplicitAny: `init` is contravariant in the configuration, which only its own schema decodes.
export type AnyRegistration = Registration<string, any>

/** `type.id`, for instance `io.containerd.content.v1.content`. */
export function uri(registration: { readonly type: string; readonly id: string }): string {
  return `${registration.type}.${registration.id}`
}

/** A set of registrations in the order they came. */
export class Registry {
  readonly #registrations = new Map<string, AnyRegistration>()

  /**
   * @throws PluginError when type or id is empty, `*` is combined with other requirements, the plugin requires its own type, or the
   * URI is taken by another registration. Registering the same object again is harmless.
   */
  register<T extends string, C>(registration: Registration<T, C>): void {
    const name = uri(registration)
    if (registration.type === '' || registration.id === '') throw new PluginError(`plugin "${name}" has no type or no id`)
    for (const requires of [registration.requires ?? [], registration.after ?? []]) {
      if (requires.includes('*') && requires.length > 1)
        throw new PluginError(`plugin "${name}": "*" must be the only requirement`)
      if (requires.includes(registration.type)) throw new PluginError(`plugin "${name}" requires its own type`)
    }
    const existing = this.#registrations.get(name)
    if (existing !== undefined && existing !== registration)
      throw new PluginError(`plugin "${name}" is registered twice`, { plugins: [name] })
    this.#registrations.set(name, registration)
  }

  list(): readonly AnyRegistration[] {
    return [...this.#registrations.values()]
  }
}

// Two installed copies of this package meet under the same key, which carries the major version of the plugin API.
const key = Symbol.for('containerd-ts.plugin.registry.v1')

function isRegistry(value: unknown): value is Registry {
  return typeof value === 'object' && value !== null && 'register' in value && 'list' in value
}

/** The process-wide registry, which importing a plugin package fills. */
export function defaultRegistry(): Registry {
  const shared = globalThis as unknown as Record<symbol, unknown>
  const existing = shared[key]
  if (isRegistry(existing)) return existing
  const registry = new Registry()
  shared[key] = registry
  return registry
}

/** Adds a plugin to the process-wide registry. */
export function register<T extends string, C>(registration: Registration<T, C>): void {
  defaultRegistry().register(registration)
}
