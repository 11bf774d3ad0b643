import { basename, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { plugins, presets } from './plugins.js'
import { createProject, kinds } from './project.js'

const usage = `npm create @containerd-ts <directory> -- [options]

Makes a project in TypeScript, with tests, that builds with npm run build.

  --kind KIND         daemon (default): a daemon of your own as one script, with a systemd unit and a Dockerfile
                      snapshotter: a snapshotter plugin as an npm package, with the conformance suite
                      service: a gRPC service plugin as a single file for <root>/plugins
  --plugins A,B,...   plugins or presets of a daemon (default images); what they need comes along
  --name NAME         name of the package and of the daemon or plugin (default: that of the directory)
  --list              show the plugins and presets
  -h, --help          show this
`

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      kind: { type: 'string', default: 'daemon' },
      plugins: { type: 'string', default: 'images' },
      name: { type: 'string' },
      list: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help === true) return print(usage)
  if (values.list === true) return print(list())
  const [directory, ...rest] = positionals
  if (directory === undefined || rest.length > 0) throw new Error(`one directory must be given\n\n${usage}`)
  const kind = kinds.find((known) => known === values.kind)
  if (kind === undefined) throw new Error(`unknown kind "${values.kind}": expected one of ${kinds.join(', ')}`)
  const name = values.name ?? basename(resolve(directory))
  const names = values.plugins.split(',').filter((plugin) => plugin !== '')
  const files = await createProject({ kind, name, directory, plugins: names })
  print(`${files.map((file) => `  ${file}\n`).join('')}\nNext: cd ${directory}; npm install; npm run build; npm test\n`)
}

function list(): string {
  const rows = Object.entries(plugins).map(([name, { what }]) => `  ${name.padEnd(24)}${what}\n`)
  const sets = Object.entries(presets).map(
    ([name, names]) => `  ${name.padEnd(24)}${name === 'full' ? 'all of them' : names.join(', ')}\n`,
  )
  return `Plugins:\n${rows.join('')}\nPresets:\n${sets.join('')}`
}

function print(text: string): void {
  process.stdout.write(text)
}

main().catch((error: unknown) => {
  process.stderr.write(`create-containerd: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
