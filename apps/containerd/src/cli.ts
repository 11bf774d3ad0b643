import { parseArgs } from 'node:util'
import { defaultRegistry, PluginError } from '@containerd-ts/plugin'
import {
  ConfigFileError,
  type ConfigOverrides,
  configTable,
  createLogger,
  type DaemonConfig,
  daemonConfig,
  loadConfigFile,
  logLevels,
  printToml,
  RootInUseError,
} from '@containerd-ts/server'
import { runDaemon } from './daemon.js'
import { publish } from './publish.js'
import { revision, version } from './version.js'

const defaultConfigPath = '/etc/containerd/config.toml'

const usage = `containerd - container runtime daemon

Usage:
  containerd [options]                    run the daemon
  containerd [options] config default     print the default configuration
  containerd [options] config dump        print the configuration in effect, with every default
  containerd [options] publish --namespace NS --topic TOPIC
                                          publish an event; standard input is a serialized google.protobuf.Any

Options:
  -c, --config PATH       configuration file (default ${defaultConfigPath}, which may be missing)
  -l, --log-level LEVEL   ${logLevels.join(', ')}
  -a, --address PATH      socket of the gRPC API (default /run/containerd/containerd.sock)
      --root PATH         directory for persistent data (default /var/lib/containerd)
      --state PATH        directory for volatile data (default /run/containerd)
  -v, --version           print the version
  -h, --help              print this text
`

/** The command line is wrong; the text says how. */
class UsageError extends Error {}

/** Runs the command line and gives back the exit status. Errors are one line on standard error. */
export async function run(args: string[], stop: AbortSignal): Promise<number> {
  try {
    const { values, positionals } = parse(args)
    if (values.version === true)
      process.stdout.write(`containerd github.com/containerd-ts/containerd-ts ${version} ${revision}\n`)
    else if (values.help === true) process.stdout.write(usage)
    else await command(values, positionals, stop)
    return 0
  } catch (error) {
    if (error instanceof UsageError) process.stderr.write(`containerd: ${error.message}\n\n${usage}`)
    else process.stderr.write(`containerd: ${explain(error)}\n`)
    return 1
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        config: { type: 'string', short: 'c' },
        'log-level': { type: 'string', short: 'l' },
        address: { type: 'string', short: 'a' },
        root: { type: 'string' },
        state: { type: 'string' },
        version: { type: 'boolean', short: 'v' },
        help: { type: 'boolean', short: 'h' },
        namespace: { type: 'string' },
        topic: { type: 'string' },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

type Values = ReturnType<typeof parse>['values']

async function command(values: Values, positionals: readonly string[], stop: AbortSignal): Promise<void> {
  const [name, sub, ...rest] = positionals
  const words = positionals.join(' ')
  if (rest.length > 0) throw new UsageError(`unknown command "${words}"`)
  if (name === undefined) return runDaemon(await configuration(values), stop)
  if (name === 'config' && sub === 'default') return print(daemonConfig({ table: {}, files: [] }, {}))
  if (name === 'config' && (sub === 'dump' || sub === 'migrate')) return print(await configuration(values))
  if (name === 'publish' && sub === undefined) {
    if (values.topic === undefined || values.topic === '') throw new UsageError('publish needs --topic')
    const address = values.address ?? '/run/containerd/containerd.sock'
    return publish({ address, namespace: values.namespace ?? '', topic: values.topic })
  }
  throw new UsageError(`unknown command "${words}"`)
}

function print(config: DaemonConfig): void {
  process.stdout.write(printToml(configTable(config, defaultRegistry().list())))
}

async function configuration(values: Values): Promise<DaemonConfig> {
  const overrides: ConfigOverrides = {
    ...(values.root !== undefined && { root: values.root }),
    ...(values.state !== undefined && { state: values.state }),
    ...(values.address !== undefined && { address: values.address }),
    ...(values['log-level'] !== undefined && { logLevel: logLevel(values['log-level']) }),
  }
  const document = await loadDocument(values.config)
  const log = createLogger({ level: 'warn', format: 'text' })
  return daemonConfig(document, overrides, (message) => log.warn(message))
}

/** The default file may be missing, one that was named may not. */
async function loadDocument(path: string | undefined) {
  try {
    return await loadConfigFile(path ?? defaultConfigPath)
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

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const expected =
    error instanceof ConfigFileError || error instanceof RootInUseError || error instanceof PluginError || 'code' in error
  return expected ? error.message : (error.stack ?? error.message)
}
