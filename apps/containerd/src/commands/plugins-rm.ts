import { npm } from '../npm.js'
import { command, UsageError } from './command.js'
import { configuration } from './configuration.js'

export const pluginsRm = command({
  words: ['plugins', 'rm'],
  args: '<package>...',
  summary: 'remove plugins from the plugin directory',
  options: {},
  async run({ values, args }) {
    if (args.length === 0) throw new UsageError('plugins rm needs the name of a package')
    const { pluginDir } = await configuration(values)
    await npm(['uninstall', '--prefix', pluginDir, '--ignore-scripts', '--', ...args])
  },
})
