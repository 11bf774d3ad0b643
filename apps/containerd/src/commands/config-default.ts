import { defaultRegistry } from '@containerd-ts/plugin'
import { configTable, daemonConfig, printToml } from '@containerd-ts/server'
import { command } from './command.js'

export const configDefault = command({
  words: ['config', 'default'],
  summary: 'print the default configuration',
  options: {},
  async run() {
    process.stdout.write(printToml(configTable(daemonConfig({ table: {}, files: [] }, {}), defaultRegistry().list())))
  },
})
