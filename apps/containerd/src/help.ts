import { type AnyCommand, globalOptions, type OptionTable } from './commands/command.js'

/** The text for the whole program. */
export function programHelp(commands: readonly AnyCommand[]): string {
  const listed = commands.map((c) => [synopsis(c), c.summary] as const)
  return `containerd - container runtime daemon

Usage:
${columns(listed)}
Options:
${columns(optionRows(globalOptions))}
containerd <command> --help describes a command.
`
}

/** The text for one command. */
export function commandHelp(command: AnyCommand): string {
  const options = command.options as OptionTable
  const own = Object.keys(options).length === 0 ? '' : `\nOptions:\n${columns(optionRows(options))}`
  return `${synopsis(command)} - ${command.summary}
${command.description === undefined ? '' : `\n${command.description}\n`}${own}
Options of every command:
${columns(optionRows(globalOptions))}`
}

function synopsis({ words, args }: AnyCommand): string {
  return ['containerd', ...words, '[options]', ...(args === undefined ? [] : [args])].join(' ')
}

function optionRows(options: OptionTable): (readonly [string, string])[] {
  return Object.entries(options).map(([name, { short, value, doc }]) => {
    const spelling = `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`
    return [spelling, doc] as const
  })
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}   ${right}\n`).join('')
}
