import { PluginError } from './errors.js'
import { type AnyRegistration, uri } from './registry.js'

/** What is left out of a graph. */
export interface GraphOptions {
  /** URIs to leave out. What requires only left-out plugins stays in and fails at its own init. */
  disabled?: readonly string[]
}

/**
 * Orders registrations so that everything a plugin requires comes before it, otherwise keeping their order.
 *
 * @throws PluginError naming the plugins for a duplicate URI, a requirement that nothing fulfils, or a cycle.
 */
export function graph(registrations: readonly AnyRegistration[], options: GraphOptions = {}): readonly AnyRegistration[] {
  const names = new Set<string>()
  for (const registration of registrations) {
    const name = uri(registration)
    if (names.has(name)) throw new PluginError(`plugin "${name}" is registered twice`, { plugins: [name] })
    names.add(name)
  }

  const disabled = new Set(options.disabled)
  const enabled = registrations.filter((r) => !disabled.has(uri(r)))
  const byType = groupByType(enabled)
  const types = new Set(registrations.map((r) => r.type))

  const ordered: AnyRegistration[] = []
  const done = new Set<AnyRegistration>()
  const path: AnyRegistration[] = []

  const visit = (registration: AnyRegistration): void => {
    if (done.has(registration)) return
    if (path.includes(registration)) {
      const cycle = [...path.slice(path.indexOf(registration)), registration].map(uri)
      throw new PluginError(`plugins require each other in a circle: ${cycle.join(' -> ')}`, { plugins: cycle })
    }
    path.push(registration)
    for (const type of registration.requires ?? []) {
      if (type !== '*' && !types.has(type))
        throw new PluginError(`plugin "${uri(registration)}" requires "${type}", which nothing registers`, {
          plugins: [uri(registration)],
        })
    }
    for (const type of [...(registration.requires ?? []), ...(registration.after ?? [])]) {
      const before = type === '*' ? enabled.filter((r) => !afterAll(r)) : (byType.get(type) ?? [])
      for (const other of before) visit(other)
    }
    path.pop()
    done.add(registration)
    ordered.push(registration)
  }
  for (const registration of enabled) visit(registration)
  return ordered
}

function afterAll(registration: AnyRegistration): boolean {
  return (registration.requires ?? []).includes('*') || (registration.after ?? []).includes('*')
}

function groupByType(registrations: readonly AnyRegistration[]): Map<string, AnyRegistration[]> {
  const groups = new Map<string, AnyRegistration[]>()
  for (const registration of registrations) {
    const group = groups.get(registration.type)
    if (group === undefined) groups.set(registration.type, [registration])
    else group.push(registration)
  }
  return groups
}
