// Arrows point one way: apps -> server/client -> plugins -> primitives/interface -> plugin, api. A plugin never imports a sibling.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packages } from './workspace.mjs'

const scope = '@containerd-ts/'
const primitives = [
  'linux',
  'mount',
  'archive',
  'ttrpc',
  'filters',
  'cgroups',
  'snapshot-storage',
  'level-records',
  'proxy-client',
  'images',
  'image-archive',
  'remotes',
]

function layer(name, group) {
  if (group === 'apps' || group === 'tooling') return 'app'
  if (name === 'api' || name === 'plugin') return 'base'
  if (name === 'interface') return 'interface'
  if (name === 'conformance') return 'conformance'
  if (primitives.includes(name)) return 'primitive'
  if (name === 'server' || name === 'client' || name === 'proxy-server') return 'assembly'
  return 'plugin'
}

// What each layer may depend on, at run time. Tests may use anything below `app`, the testkit, and the conformance suites.
const allowed = {
  base: [],
  interface: ['base'],
  conformance: ['base', 'interface'],
  primitive: ['base', 'interface', 'primitive'],
  plugin: ['base', 'interface', 'primitive'],
  assembly: ['base', 'interface', 'primitive', 'plugin', 'assembly'],
  app: ['base', 'interface', 'primitive', 'plugin', 'assembly', 'app', 'conformance'],
}

function sources(dir) {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile() && /\.m?ts$/.test(e.name))
    .map((e) => join(e.parentPath, e.name))
}

const all = new Map(packages().map((p) => [p.manifest.name, p]))
const wrong = []
for (const { manifest, folder, group, dir } of all.values()) {
  const from = layer(folder, group)
  // Apps are bundles: what they are made of is only needed to build them.
  const made = group === 'apps' ? manifest.devDependencies : {}
  const declared = new Set(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies, ...made }))
  for (const file of sources(join(dir, 'src'))) {
    const text = readFileSync(file, 'utf8')
    for (const [, specifier] of text.matchAll(/(?<!['\w])(?:from|import|import\()\s*'([^'.\s][^'\s]*)'/g)) {
      if (specifier.startsWith('node:') || specifier.includes('${')) continue
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/')
      if (!declared.has(name)) wrong.push(`${file}: imports "${name}", which ${manifest.name} does not declare`)
      const target = all.get(name)
      if (!name.startsWith(scope) || target === undefined) continue
      const to = layer(target.folder, target.group)
      if (!allowed[from].includes(to)) wrong.push(`${file}: ${from} ${manifest.name} must not import ${to} ${name}`)
    }
  }
}
for (const line of wrong) console.error(line)
console.log(`arrows: ${all.size} packages, ${wrong.length} wrong`)
process.exit(wrong.length > 0 ? 1 : 0)
