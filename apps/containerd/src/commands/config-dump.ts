import { configTable, printToml } from '@containerd-ts/server'
import { type AnyCommand, command } from './command.js'
import { allPlugins, configuration } from './configuration.js'

function printing(word: string, summary: string): AnyCommand {
  return command({
    words: ['config', word],
    summary,
    options: {},
    async run({ values, stop }) {
      const config = await configuration(values)
      process.stdout.write(printToml(configTable(config, await allPlugins(config, stop))))
    },
  })
}

export const configDump = printing('dump', 'print the configuration in effect, with every default')
/** The same: what is printed is of the newest version. */
export const configMigrate = printing('migrate', 'print the configuration in effect in the newest version of its format')
