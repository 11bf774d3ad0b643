import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { defaultRegistry, silentLogger, uri } from '@containerd-ts/plugin'
import { externalPlugins, findPlugins } from '@containerd-ts/server'
import { npm } from '../npm.js'
import { command, Failure, UsageError } from './command.js'
import { configuration } from './configuration.js'

export const pluginsAdd = command({
  words: ['plugins', 'add'],
  args: '<package>...',
  summary: 'install plugins from npm into the plugin directory',
  description: `Packages are named as for npm install: a name, name@range, a directory, a tarball. Scripts of packages are not run. What npm has
installed is loaded once, so that a mistake shows now; the daemon loads it at its next start.`,
  options: {},
  async run({ values, args, stop }) {
    if (args.length === 0) throw new UsageError('plugins add needs the name of a package')
    const config = await configuration(values)
    // Code that others can write would not be loaded.
    process.umask(0o022)
    await mkdir(config.pluginDir, { recursive: true })
    await makeManifest(join(config.pluginDir, 'package.json'))
    const before = new Map((await findPlugins(config.pluginDir)).map(({ name, version }) => [name, version]))
    await npm(['install', '--prefix', config.pluginDir, '--ignore-scripts', '--install-links', '--save', '--', ...args])
    const added = (await findPlugins(config.pluginDir)).filter(({ name, version }) => before.get(name) !== version)
    if (added.length === 0)
      throw new Failure(`${args.join(', ')}: no new plugin; a plugin has the keyword "containerd-plugin" in its package.json`)

    const sources = added.map(({ name, version }) => `${name}@${version}`)
    const loaded = await externalPlugins(config, { registrations: defaultRegistry().list(), log: silentLogger, signal: stop })
    const ours = loaded.filter(({ source }) => sources.includes(source))
    for (const { registration, source, error } of ours) {
      if (error === undefined) process.stdout.write(`${source} has ${uri(registration)}; the daemon loads it at its next start\n`)
    }
    const refused = ours.flatMap(({ source, error }) =>
      error === undefined ? [] : [`${source} was installed but will not be loaded: ${error.message}`],
    )
    if (refused.length > 0) throw new Failure(refused.join('\n'))
  },
})

async function makeManifest(path: string): Promise<void> {
  try {
    await writeFile(path, '{ "private": true, "dependencies": {} }\n', { flag: 'wx' })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  }
}
