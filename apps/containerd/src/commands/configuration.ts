import { type AnyRegistration, defaultRegistry } from '@containerd-ts/plugin'
import {
  type ConfigDocument,
  type ConfigOverrides,
  createLogger,
  type DaemonConfig,
  daemonConfig,
  externalPlugins,
  loadConfigFile,
  logLevels,
} from '@containerd-ts/server'
import { type globalOptions, type OptionValues, UsageError } from './command.js'

const defaultDirectory = '/etc/containerd'

type Values = OptionValues<typeof globalOptions>

/** The configuration that a command line asks for: files, then flags. @throws UsageError, ConfigFileError */
export async function configuration(values: Values): Promise<DaemonConfig> {
  return daemonConfig(await loadDocument(values.config), overrides(values), (message) => stderrLog.warn(message))
}

/** What the flags set over every file. @throws UsageError */
export function overrides(values: Values): ConfigOverrides {
  return {
    ...(values.root !== undefined && { root: values.root }),
    ...(values.state !== undefined && { state: values.state }),
    ...(values.address !== undefined && { address: values.address }),
    ...(values['log-level'] !== undefined && { logLevel: logLevel(values['log-level']) }),
  }
}

/** The plugins of this daemon: its own, and those from outside. The code of those is loaded, nothing is initialised. */
export async function allPlugins(config: DaemonConfig, stop: AbortSignal): Promise<readonly AnyRegistration[]> {
  const registrations = defaultRegistry().list()
  const external = await externalPlugins(config, { registrations, log: stderrLog, signal: stop })
  return [...registrations, ...external.map(({ registration }) => registration)]
}

const stderrLog = createLogger({ level: 'warn', format: 'text' })

/** The named file, or the default one, which may be missing, with its drop-ins. @throws ConfigFileError */
export function loadDocument(path: string | undefined): Promise<ConfigDocument> {
  if (path !== undefined) return loadConfigFile(path)
  return loadConfigFile(`${defaultDirectory}/config.toml`, {
    optional: true,
    defaultImports: [`${defaultDirectory}/conf.d/*.toml`],
  })
}

function logLevel(name: string) {
  const level = logLevels.find((l) => l === name)
  if (level === undefined) throw new UsageError(`unknown log level "${name}": expected one of ${logLevels.join(', ')}`)
  return level
}

/** The socket of the daemon that a command talks to. */
export function addressOf(values: Values): string {
  return values.address ?? '/run/containerd/containerd.sock'
}
