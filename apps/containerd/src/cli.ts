import { parseArgs } from 'node:util'
import { PluginError } from '@containerd-ts/plugin'
import { ConfigFileError, RootInUseError } from '@containerd-ts/server'
import { type AnyCommand, Failure, globalOptions, type OptionTable, UsageError } from './commands/command.js'
import { commands } from './commands/table.js'
import { commandHelp, programHelp } from './help.js'
import { revision, version } from './version.js'

/** Runs the command line and gives back the exit status. Errors are one line on standard error. */
export async function run(argv: string[], stop: AbortSignal): Promise<number> {
  let command: AnyCommand | undefined
  try {
    command = find(argv)
    const { values, args } = parse(command, argv)
    if (values['version'] === true)
      process.stdout.write(`containerd github.com/containerd-ts/containerd-ts ${version} ${revision}\n`)
    else if (values['help'] === true)
      process.stdout.write(command.words.length === 0 ? programHelp(commands) : commandHelp(command))
    else await command.run({ values, args, stop })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if (error instanceof UsageError) {
      const help = command === undefined || command.words.length === 0 ? programHelp(commands) : commandHelp(command)
      process.stderr.write(`containerd: ${error.message}\n\n${help}`)
    } else process.stderr.write(`containerd: ${explain(error)}\n`)
    return 1
  }
}

/** The command whose words the command line begins with, apart from options of every command. @throws UsageError */
function find(argv: string[]): AnyCommand {
  const { positionals } = parseArgs({ args: argv, strict: false, allowPositionals: true, options: globalOptions })
  const found = commands
    .filter(({ words }) => words.every((word, index) => positionals[index] === word))
    .reduce((longest, candidate) => (candidate.words.length > longest.words.length ? candidate : longest))
  if (found.words.length > 0 || positionals.length === 0) return found
  const [first] = positionals
  const below = commands.filter(({ words }) => words[0] === first).map(({ words }) => words.join(' '))
  throw new UsageError(
    below.length > 0 && positionals.length === 1
      ? `"${first}" needs a second word: ${below.join(', ')}`
      : `unknown command "${positionals.join(' ')}"`,
  )
}

function parse(command: AnyCommand, argv: string[]): { values: Record<string, string | boolean | undefined>; args: string[] } {
  const options: OptionTable = { ...globalOptions, ...command.options }
  const last = command.words.at(-1)
  if (command.verbatim === true && last !== undefined) {
    const args = argv.slice(argv.indexOf(last) + 1)
    if (args[0] === '--') args.shift()
    return { values: { help: args[0] === '--help' || args[0] === '-h' }, args }
  }
  try {
    const { values, positionals } = parseArgs({ args: argv, allowPositionals: true, options })
    const args = positionals.slice(command.words.length)
    if (args.length > 0 && command.args === undefined && values['help'] !== true)
      throw new UsageError(`unexpected "${args.join(' ')}"`)
    return { values, args }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const expected =
    error instanceof Failure ||
    error instanceof ConfigFileError ||
    error instanceof RootInUseError ||
    error instanceof PluginError ||
    'code' in error
  return expected ? error.message : (error.stack ?? error.message)
}
