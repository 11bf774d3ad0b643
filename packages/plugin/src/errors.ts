/**
 * Thrown from `init` by a plugin that cannot work here, for instance because the kernel lacks a filesystem. It is no failure: the
 * daemon goes on without it and the introspection service shows the reason, which ends in `skip plugin` as clients expect.
 */
export class SkipPlugin extends Error {
  override readonly name = 'SkipPlugin'

  constructor(reason: string, options?: ErrorOptions) {
    super(`${reason}: skip plugin`, options)
  }
}

/** True for a {@link SkipPlugin}, also one of another copy of this package. */
export function isSkipPlugin(error: unknown): boolean {
  return error instanceof Error && error.name === 'SkipPlugin'
}

/** The set of plugins cannot be ordered or a lookup has no single answer. The message names the plugins. */
export class PluginError extends Error {
  override readonly name = 'PluginError'
  /** URIs of the plugins to blame, where some are. */
  readonly plugins: readonly string[]

  constructor(message: string, options: ErrorOptions & { plugins?: readonly string[] } = {}) {
    super(message, options)
    this.plugins = options.plugins ?? []
  }
}

/** A configuration value is wrong. `key` is the path within its section, for instance `schedule_delay`. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'

  /** `suggestion` says what to write instead, as a phrase: `did you mean "level"?`. */
  constructor(
    readonly key: string,
    problem: string,
    suggestion = '',
  ) {
    super(`${key}: ${problem}${suggestion === '' ? '' : `; ${suggestion}`}`)
  }
}
