/** One option of a command, or one that every command has. */
export interface Option {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  /** What stands for the value in the help, for instance `PATH`. */
  readonly value?: string
  readonly doc: string
}

export type OptionTable = Readonly<Record<string, Option>>

/** The values of a table's options; what was not given is absent. */
export type OptionValues<O extends OptionTable> = {
  readonly [K in keyof O]?: O[K]['type'] extends 'boolean' ? boolean : string
}

/** What every command has, before or after its name. */
export const globalOptions = {
  config: {
    type: 'string',
    short: 'c',
    value: 'PATH',
    doc: 'configuration file (default /etc/containerd/config.toml with conf.d/*.toml beside it)',
  },
  'log-level': { type: 'string', short: 'l', value: 'LEVEL', doc: 'trace, debug, info, warn, error, fatal, panic' },
  address: { type: 'string', short: 'a', value: 'PATH', doc: 'socket of the gRPC API (default /run/containerd/containerd.sock)' },
  root: { type: 'string', value: 'PATH', doc: 'directory for persistent data (default /var/lib/containerd)' },
  state: { type: 'string', value: 'PATH', doc: 'directory for volatile data (default /run/containerd)' },
  version: { type: 'boolean', short: 'v', doc: 'print the version' },
  help: { type: 'boolean', short: 'h', doc: 'print this text, or that of a command' },
} as const satisfies OptionTable

export interface Invocation<O extends OptionTable> {
  readonly values: OptionValues<O & typeof globalOptions>
  /** What follows the words of the command. */
  readonly args: readonly string[]
  /** Aborted by SIGTERM or SIGINT. */
  readonly stop: AbortSignal
}

/** One command of the program. Its file is named after its words. */
export interface Command<O extends OptionTable = OptionTable> {
  /** What calls it: `config dump` is two words; none is the daemon itself. */
  readonly words: readonly string[]
  /** What may follow the words, as the help shows it: `<uri>`. Without it nothing may. */
  readonly args?: string
  /** What follows the words belongs to another program, even what looks like options. */
  readonly verbatim?: boolean
  /** One line for the list of commands. */
  readonly summary: string
  /** More than the summary, for the command's own help. */
  readonly description?: string
  readonly options: O
  /** Prints its result to standard output; an exit status other than 0 is left in `process.exitCode`. @throws UsageError, and anything else as a failure. */
  run(invocation: Invocation<O>): Promise<void>
}

/** A command of any options. */
// biome-ignore lint/suspicious/noExplicitAny: `run` is contravariant in the options, which the command's own table parses.
export type AnyCommand = Command<any>

/** Ties the types of a command's options to its `run`. */
export function command<O extends OptionTable>(definition: Command<O>): AnyCommand {
  return definition
}

/** The command line is wrong; the message says how. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A command has done its work and the answer is no; the message is all there is to say. */
export class Failure extends Error {
  override readonly name = 'Failure'
}
