import { type Option, UsageError } from './command.js'

export const formatOption = { type: 'string', value: 'FORMAT', doc: 'table (default) or json' } as const satisfies Option

/** True when the output is for scripts. @throws UsageError */
export function wantsJson(format: string | undefined): boolean {
  if (format !== undefined && format !== 'table' && format !== 'json')
    throw new UsageError(`unknown format "${format}": expected table or json`)
  return format === 'json'
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}
