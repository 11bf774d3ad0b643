import { defaultRegistry } from '@containerd-ts/plugin'
import { configTable, printToml } from '@containerd-ts/server'
import { type AnyCommand, command } from './command.js'
import { configuration } from './configuration.js'

function printing(word: string, summary: string): AnyCommand {
  return command({
    words: ['config', word],
    summary,
    options: {},
    async run({ values }) {
      process.stdout.write(printToml(configTable(await configuration(values), defaultRegistry().list())))
    },
  })
}

export const configDump = printing('dump', 'print the configuration in effect, with every default')
/** The same: what is printed is of the newest version. */
export const configMigrate = printing('migrate', 'print the configuration in effect in the newest version of its format')
