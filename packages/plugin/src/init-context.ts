import type { Logger } from './log.js'
import type { InstanceOf, PluginType } from './types.js'

/** A platform as introspection shows it. */
export interface PluginPlatform {
  os: string
  architecture: string
  variant?: string
}

/** What a plugin tells of itself; shown by the introspection service. Filled during `init`. */
export interface PluginMeta {
  platforms: PluginPlatform[]
  exports: Record<string, string>
  capabilities: string[]
}

/** What a plugin knows of another one, or of itself: its place, its state and its error. */
export interface PluginStatus {
  readonly type: string
  readonly id: string
  /** Plugin types that come before it, whether it demands them or not. */
  readonly requires: readonly string[]
  readonly meta: PluginMeta
  /** Why the plugin is not there: it failed or it skipped itself. */
  readonly error?: Error
  readonly instance?: unknown
}

/** What a daemon tells of itself. */
export interface DaemonVersion {
  /** For instance `v2.3.4`; a semantic version after the `v`. */
  readonly version: string
  /** The commit it was built from. */
  readonly revision: string
}

/** What `init` gets: places of its own, checked configuration and typed access to what the plugin requires. */
export interface InitContext<C = unknown> {
  /** Own directory for what must survive a reboot, `<root>/<type>.<id>`. Not created: the plugin decides its mode. */
  readonly root: string
  /** Own directory for what need not survive a reboot, `<state>/<type>.<id>`. Not created. */
  readonly state: string
  readonly config: C
  /** The unix socket of the gRPC API; empty when the daemon serves none. */
  readonly address: string
  /** The unix socket of the ttrpc API; empty when the daemon serves none. */
  readonly ttrpcAddress: string
  /** What the daemon calls itself. */
  readonly daemon: DaemonVersion
  /** True when the daemon logs at debug or trace. */
  readonly debug: boolean
  /** A limit from the daemon's `[timeouts]` section by its key, in milliseconds; a second for a key that nobody knows. */
  timeoutMs(key: string): number
  readonly log: Logger
  /** Aborted when the daemon stops, also while plugins are still initialising. */
  readonly signal: AbortSignal
  readonly meta: PluginMeta
  /** The event exchange. @throws PluginError when there is none. */
  readonly events: InstanceOf<typeof PluginType.Event>
  /** The one plugin of a type. @throws PluginError when there is none, when it failed, or when there are several. */
  get<T extends string>(type: T): InstanceOf<T>
  /** A plugin by type and id. @throws PluginError when it is not there or failed. */
  getById<T extends string>(type: T, id: string): InstanceOf<T>
  /** All working plugins of a type by id, in the order of initialisation; failed and skipped ones are left out. */
  getAll<T extends string>(type: T): ReadonlyMap<string, InstanceOf<T>>
  /** Every plugin so far, working or not; grows while initialisation goes on. */
  plugins(): readonly PluginStatus[]
}
