import { type AnyRegistration, inspectConfig, uri } from '@containerd-ts/plugin'
import { type ConfigOverrides, type ConfigProblem, type DaemonConfig, meant, readConfig } from './daemon-config.js'
import type { ConfigDocument } from './load.js'

/** What a check has found, and the configuration as far as it could be read. */
export interface CheckedConfig {
  readonly config: DaemonConfig
  readonly problems: readonly ConfigProblem[]
}

/**
 * Everything that is wrong with a configuration: its own keys, those of the plugins in `registrations`, and names of plugins that are
 * not there. Nothing is initialised.
 */
export function checkConfig(
  document: ConfigDocument,
  overrides: ConfigOverrides,
  registrations: readonly AnyRegistration[],
): CheckedConfig {
  const problems: ConfigProblem[] = []
  const config = readConfig(document, overrides, (problem) => problems.push(problem))
  const registered = new Map(registrations.map((r) => [uri(r), r]))
  const names = [...registered.keys(), ...config.proxyPlugins.map(({ type, name }) => `${type}.${name}`)]
  for (const [name, section] of Object.entries(config.plugins)) {
    const registration = registered.get(name)
    if (registration === undefined) {
      const message = `${config.locate(name, '')}: plugins."${name}" has no effect: this daemon has no such plugin${meant(name, names)}`
      problems.push({ severity: 'warning', message })
      continue
    }
    for (const problem of inspectConfig(registration.config ?? {}, section).problems) {
      const message = `${config.locate(name, problem.key)}: plugins."${name}".${problem.message}`
      problems.push({ severity: 'error', message })
    }
  }
  for (const name of config.requiredPlugins) {
    if (!names.includes(name))
      problems.push({ severity: 'error', message: `required_plugins: this daemon has no plugin "${name}"${meant(name, names)}` })
  }
  for (const name of config.disabledPlugins) {
    if (!names.includes(name))
      problems.push({
        severity: 'warning',
        message: `disabled_plugins: this daemon has no plugin "${name}"${meant(name, names)}`,
      })
  }
  return { config, problems }
}
