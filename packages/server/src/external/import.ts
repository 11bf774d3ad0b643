import { pathToFileURL } from 'node:url'
import { type AnyRegistration, defaultRegistry, within } from '@containerd-ts/plugin'
import { isTable } from '../config/toml.js'

/**
 * Loads a module and gives back the plugins that it exports or registers.
 *
 * @throws what the module throws, DeadlineError, and PluginError or Error when what it exports is no registration.
 */
export async function importRegistrations(
  entry: string,
  options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined },
): Promise<AnyRegistration[]> {
  const before = new Set(defaultRegistry().list())
  const importing: Promise<Record<string, unknown>> = import(pathToFileURL(entry).href)
  const module = await within(importing, { ...options, what: `loading ${entry}` })
  const registered = defaultRegistry()
    .list()
    .filter((registration) => !before.has(registration))
  const exported = Object.values(module).flat().filter(looksLikeRegistration)
  const found = [...new Set([...exported.map(checked), ...registered])]
  if (found.length === 0) throw new Error(`${entry} exports no plugin: export a registration, an object with type, id and init`)
  return found
}

function looksLikeRegistration(value: unknown): value is Record<string, unknown> {
  return isTable(value) && typeof value['init'] === 'function'
}

function checked(value: Record<string, unknown>): AnyRegistration {
  const { type, id, requires = [], after = [], config = {}, api = '' } = value
  const name = `plugin "${String(type)}.${String(id)}"`
  if (typeof type !== 'string' || type === '' || typeof id !== 'string' || id === '')
    throw new TypeError(`${name}: type and id must be non-empty strings`)
  for (const [key, types] of Object.entries({ requires, after })) {
    if (!Array.isArray(types) || !types.every((item) => typeof item === 'string'))
      throw new TypeError(`${name}: ${key} must be a list of plugin types`)
    if (types.includes('*') && types.length > 1) throw new TypeError(`${name}: "*" must be the only one in ${key}`)
    if (types.includes(type)) throw new TypeError(`${name} requires its own type`)
  }
  if (typeof api !== 'string') throw new TypeError(`${name}: api must be a version range`)
  const fields = isTable(config) ? Object.entries(config) : [['config', undefined] as const]
  for (const [key, field] of fields) {
    if (!isTable(field) || typeof field['decode'] !== 'function' || typeof field['encode'] !== 'function')
      throw new TypeError(`${name}: the configuration key ${key} is no field: make it with text(), flag() and their like`)
  }
  // What a registration consists of has been looked at, piece by piece.
  return value as unknown as AnyRegistration
}
