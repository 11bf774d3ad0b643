import { ConfigError } from './errors.js'

/** One configuration key: its default, what it means, and how a raw TOML value becomes a checked one. */
export interface Field<T> {
  readonly kind: string
  readonly default: T
  readonly doc: string
  /** @throws ConfigError naming `key` when the value is of another type or out of range. */
  decode(raw: unknown, key: string): T
  /** The value as it is written to TOML. */
  encode(value: T): unknown
}

/** The configuration of a plugin, key by key; keys keep containerd's TOML spelling. */
export type ConfigSchema<C> = { readonly [K in keyof C]: Field<C[K]> }

export type ConfigOf<S> = S extends ConfigSchema<infer C> ? C : never

function describe(raw: unknown): string {
  if (Array.isArray(raw)) return 'a list'
  if (raw instanceof Date) return 'a date'
  return typeof raw === 'object' ? 'a table' : `the ${typeof raw} ${JSON.stringify(raw)}`
}

function wrong(key: string, kind: string, raw: unknown): ConfigError {
  return new ConfigError(key, `expected ${kind}, got ${describe(raw)}`)
}

interface Options<T> {
  default: T
  doc: string
}

export function text(options: Options<string>): Field<string> {
  return {
    ...options,
    kind: 'a string',
    decode: (raw, key) => {
      if (typeof raw !== 'string') throw wrong(key, 'a string', raw)
      return raw
    },
    encode: (value) => value,
  }
}

/** A string that must be one of `values`. */
export function choice<T extends string>(values: readonly T[], options: Options<T>): Field<T> {
  const kind = `one of ${values.map((v) => `"${v}"`).join(', ')}`
  return {
    ...options,
    kind,
    decode: (raw, key) => {
      const value = values.find((v) => v === raw)
      if (value === undefined) throw wrong(key, kind, raw)
      return value
    },
    encode: (value) => value,
  }
}

export function flag(options: Options<boolean>): Field<boolean> {
  return {
    ...options,
    kind: 'true or false',
    decode: (raw, key) => {
      if (typeof raw !== 'boolean') throw wrong(key, 'true or false', raw)
      return raw
    },
    encode: (value) => value,
  }
}

export function integer(options: Options<number> & { min?: number }): Field<number> {
  const { min = Number.MIN_SAFE_INTEGER } = options
  return {
    default: options.default,
    doc: options.doc,
    kind: 'an integer',
    decode: (raw, key) => {
      const value = typeof raw === 'bigint' ? Number(raw) : raw
      if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw wrong(key, 'an integer', raw)
      if (value < min) throw new ConfigError(key, `must be at least ${min}, got ${value}`)
      return value
    },
    encode: (value) => value,
  }
}

export function number(options: Options<number>): Field<number> {
  return {
    ...options,
    kind: 'a number',
    decode: (raw, key) => {
      const value = typeof raw === 'bigint' ? Number(raw) : raw
      if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(key, 'a number', raw)
      return value
    },
    encode: (value) => value,
  }
}

/** A list of strings. */
export function list(options: Options<readonly string[]>): Field<readonly string[]> {
  return {
    ...options,
    kind: 'a list of strings',
    decode: (raw, key) => {
      if (!Array.isArray(raw) || !raw.every((item): item is string => typeof item === 'string'))
        throw wrong(key, 'a list of strings', raw)
      return raw
    },
    encode: (value) => value,
  }
}

/** A time span in milliseconds, written the way Go writes durations: `100ms`, `1m30s`. */
export function durationMs(options: Options<number>): Field<number> {
  return {
    ...options,
    kind: 'a duration such as "100ms"',
    decode: (raw, key) => {
      const ms = typeof raw === 'string' ? parseDuration(raw) : undefined
      if (ms === undefined) throw wrong(key, 'a duration such as "100ms"', raw)
      return ms
    },
    encode: formatDuration,
  }
}

const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** Milliseconds of a Go duration, undefined when the text is none. */
export function parseDuration(spelling: string): number | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.exec(spelling)
  if (match === null) return /^[+-]?0$/.test(spelling) ? 0 : undefined
  let ms = 0
  for (const [, amount, unit] of spelling.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    ms += Number(amount) * (units[unit ?? ''] ?? 0)
  }
  return match[1] === '-' ? -ms : ms
}

/** The Go spelling of a time span, in the largest unit that divides it. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`
  if (ms % 60_000 === 0) return `${ms / 60_000}m`
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}

/** The configuration with every key at its default. */
export function defaultConfig<C>(schema: ConfigSchema<C>): C {
  const entries = Object.entries<Field<unknown>>(schema).map(([key, field]) => [key, field.default])
  return Object.fromEntries(entries) as C
}

/**
 * Decodes a TOML table onto the defaults. `unknownKey` hears of keys that the schema does not have.
 *
 * @throws ConfigError for the first value that is of the wrong type.
 */
export function decodeConfig<C>(schema: ConfigSchema<C>, raw: unknown, unknownKey: (key: string) => void = () => {}): C {
  if (raw === undefined) return defaultConfig(schema)
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw wrong('(section)', 'a table', raw)
  const fields = new Map(Object.entries<Field<unknown>>(schema))
  const decoded: Record<string, unknown> = defaultConfig(schema) as Record<string, unknown>
  for (const [key, value] of Object.entries(raw)) {
    const field = fields.get(key)
    if (field === undefined) unknownKey(key)
    else decoded[key] = field.decode(value, key)
  }
  return decoded as C
}

/** The configuration as a TOML table. */
export function encodeConfig<C>(schema: ConfigSchema<C>, config: C): Record<string, unknown> {
  const fields = Object.entries<Field<C[keyof C]>>(schema as Record<string, Field<C[keyof C]>>)
  return Object.fromEntries(fields.map(([key, field]) => [key, field.encode(config[key as keyof C])]))
}
