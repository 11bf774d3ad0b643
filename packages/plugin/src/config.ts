import { closest } from './closest.js'
import { ConfigError } from './errors.js'

/** One configuration key: its default, what it means, and how a raw TOML value becomes a checked one. */
export interface Field<T> {
  /** What may be written, as a phrase: `a string`. */
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

/** The values that a schema's fields decode to. */
export type ConfigOf<S> = S extends ConfigSchema<infer C> ? C : never

function describe(raw: unknown): string {
  if (Array.isArray(raw)) return 'a list'
  if (raw instanceof Date) return 'a date'
  return typeof raw === 'object' ? 'a table' : `the ${typeof raw} ${JSON.stringify(raw)}`
}

function wrong(key: string, kind: string, raw: unknown, instead?: string): ConfigError {
  return new ConfigError(key, `expected ${kind}, got ${describe(raw)}`, instead === undefined ? '' : `write ${key} = ${instead}`)
}

interface Options<T> {
  default: T
  doc: string
}

/** A string. */
export function text(options: Options<string>): Field<string> {
  return {
    ...options,
    kind: 'a string',
    decode: (raw, key) => {
      if (typeof raw !== 'string')
        throw wrong(key, 'a string', raw, typeof raw === 'object' ? undefined : JSON.stringify(String(raw)))
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
      if (value !== undefined) return value
      const near = typeof raw === 'string' ? closest(raw, values) : undefined
      throw wrong(key, kind, raw, near === undefined ? undefined : JSON.stringify(near))
    },
    encode: (value) => value,
  }
}

/** True or false. */
export function flag(options: Options<boolean>): Field<boolean> {
  return {
    ...options,
    kind: 'true or false',
    decode: (raw, key) => {
      if (typeof raw !== 'boolean') throw wrong(key, 'true or false', raw, raw === 'true' || raw === 'false' ? raw : undefined)
      return raw
    },
    encode: (value) => value,
  }
}

/** A whole number, at least `min`. */
export function integer(options: Options<number> & { min?: number }): Field<number> {
  const { min = Number.MIN_SAFE_INTEGER } = options
  return {
    default: options.default,
    doc: options.doc,
    kind: 'an integer',
    decode: (raw, key) => {
      const value = typeof raw === 'bigint' ? Number(raw) : raw
      if (typeof value !== 'number' || !Number.isSafeInteger(value))
        throw wrong(key, 'an integer', raw, unquoted(raw, /^[+-]?\d+$/))
      if (value < min) throw new ConfigError(key, `must be at least ${min}, got ${value}`)
      return value
    },
    encode: (value) => value,
  }
}

/** Any number. */
export function number(options: Options<number>): Field<number> {
  return {
    ...options,
    kind: 'a number',
    decode: (raw, key) => {
      const value = typeof raw === 'bigint' ? Number(raw) : raw
      if (typeof value !== 'number' || !Number.isFinite(value))
        throw wrong(key, 'a number', raw, unquoted(raw, /^[+-]?\d+(\.\d+)?$/))
      return value
    },
    encode: (value) => value,
  }
}

function unquoted(raw: unknown, pattern: RegExp): string | undefined {
  return typeof raw === 'string' && pattern.test(raw) ? raw : undefined
}

/** A list of strings. */
export function list(options: Options<readonly string[]>): Field<readonly string[]> {
  return {
    ...options,
    kind: 'a list of strings',
    decode: (raw, key) => {
      if (!Array.isArray(raw) || !raw.every((item): item is string => typeof item === 'string'))
        throw wrong(key, 'a list of strings', raw, typeof raw === 'string' ? JSON.stringify([raw]) : undefined)
      return raw
    },
    encode: (value) => value,
  }
}

const durationKind = 'a duration such as "100ms"'

/** A time span in milliseconds, written the way Go writes durations: `100ms`, `1m30s`. */
export function durationMs(options: Options<number>): Field<number> {
  return {
    ...options,
    kind: durationKind,
    decode: (raw, key) => {
      const ms = typeof raw === 'string' ? parseDuration(raw) : undefined
      if (ms === undefined) throw wrong(key, durationKind, raw, typeof raw === 'number' ? `"${raw}ms" or "${raw}s"` : undefined)
      return ms
    },
    encode: formatDuration,
  }
}

/** A table with keys of its own. Its default is every inner key at its default. */
export function table<C>(schema: ConfigSchema<C>, options: { doc: string }): Field<C> {
  return {
    doc: options.doc,
    kind: 'a table',
    default: defaultConfig(schema),
    decode: (raw, key) => decodeConfig(schema, raw, key),
    encode: (value) => encodeConfig(schema, value),
  }
}

/** A table whose keys the user names, each with a value of the same kind. */
export function record<T>(field: Field<T>, options: { doc: string }): Field<Readonly<Record<string, T>>> {
  return {
    doc: options.doc,
    kind: `a table, each value ${field.kind}`,
    default: {},
    decode: (raw, key) => {
      if (!isTable(raw)) throw wrong(key, 'a table', raw)
      return Object.fromEntries(Object.entries(raw).map(([name, value]) => [name, field.decode(value, `${key}.${name}`)]))
    },
    encode: (value) => Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, field.encode(inner)])),
  }
}

/** A list of tables, `[[…]]` in the file, each with keys of its own. Default: none. */
export function tables<C>(schema: ConfigSchema<C>, options: { doc: string }): Field<readonly C[]> {
  return {
    ...options,
    kind: 'a list of tables',
    default: [],
    decode: (raw, key) => {
      if (!Array.isArray(raw)) throw wrong(key, 'a list of tables', raw)
      return raw.map((item, index) => decodeConfig(schema, item, `${key}[${index}]`))
    },
    encode: (value) => value.map((item) => encodeConfig(schema, item)),
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

function isTable(raw: unknown): raw is Record<string, unknown> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw) && !(raw instanceof Date)
}

/**
 * Decodes a TOML table onto the defaults. `prefix` is the path of the table, for messages.
 *
 * @throws ConfigError for the first key that is unknown or of the wrong type.
 */
export function decodeConfig<C>(schema: ConfigSchema<C>, raw: unknown, prefix = ''): C {
  const { config, problems } = inspectConfig(schema, raw, prefix)
  const [problem] = problems
  if (problem !== undefined) throw problem
  return config
}

/**
 * As {@link decodeConfig}, but gives back every problem; a key with one is at its default. `alsoKnown` are keys that somebody else
 * reads, for suggestions.
 */
export function inspectConfig<C>(
  schema: ConfigSchema<C>,
  raw: unknown,
  prefix = '',
  alsoKnown: readonly string[] = [],
): { config: C; problems: readonly ConfigError[] } {
  const config = defaultConfig(schema)
  if (raw === undefined) return { config, problems: [] }
  if (!isTable(raw)) return { config, problems: [wrong(prefix || '(section)', 'a table', raw)] }
  const fields = new Map(Object.entries<Field<unknown>>(schema))
  const decoded = config as Record<string, unknown>
  const problems: ConfigError[] = []
  for (const [key, value] of Object.entries(raw)) {
    const path = prefix === '' ? key : `${prefix}.${key}`
    const field = fields.get(key)
    if (field === undefined) {
      problems.push(unknownKey(path, key, [...fields.keys(), ...alsoKnown]))
      continue
    }
    try {
      decoded[key] = field.decode(value, path)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      problems.push(error)
    }
  }
  return { config, problems }
}

function unknownKey(path: string, key: string, names: readonly string[]): ConfigError {
  const near = closest(key, names)
  if (near !== undefined) return new ConfigError(path, 'unknown key', `did you mean "${near}"?`)
  return new ConfigError(
    path,
    'unknown key',
    names.length === 0 ? 'nothing is configured here' : `known keys: ${names.join(', ')}`,
  )
}

/** The configuration as a TOML table. */
export function encodeConfig<C>(schema: ConfigSchema<C>, config: C): Record<string, unknown> {
  const fields = Object.entries<Field<C[keyof C]>>(schema as Record<string, Field<C[keyof C]>>)
  return Object.fromEntries(fields.map(([key, field]) => [key, field.encode(config[key as keyof C])]))
}
