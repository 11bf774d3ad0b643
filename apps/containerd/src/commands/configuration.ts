import {
  type ConfigDocument,
  ConfigFileError,
  type ConfigOverrides,
  createLogger,
  type DaemonConfig,
  daemonConfig,
  loadConfigFile,
  logLevels,
} from '@containerd-ts/server'
import { type globalOptions, type OptionValues, UsageError } from './command.js'

const defaultPath = '/etc/containerd/config.toml'

type Values = OptionValues<typeof globalOptions>

/** The configuration that a command line asks for: files, then flags. @throws UsageError, ConfigFileError */
export async function configuration(values: Values): Promise<DaemonConfig> {
  const overrides: ConfigOverrides = {
    ...(values.root !== undefined && { root: values.root }),
    ...(values.state !== undefined && { state: values.state }),
    ...(values.address !== undefined && { address: values.address }),
    ...(values['log-level'] !== undefined && { logLevel: logLevel(values['log-level']) }),
  }
  const log = createLogger({ level: 'warn', format: 'text' })
  return daemonConfig(await loadDocument(values.config), overrides, (message) => log.warn(message))
}

/** The default file may be missing, one that was named may not. @throws ConfigFileError */
async function loadDocument(path: string | undefined): Promise<ConfigDocument> {
  try {
    return await loadConfigFile(path ?? defaultPath)
  } catch (error) {
    const missing =
      error instanceof ConfigFileError && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'ENOENT'
    if (path === undefined && missing) return { table: {}, files: [] }
    throw error
  }
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
