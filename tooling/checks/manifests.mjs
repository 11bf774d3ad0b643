// Owns the manifest fields that every package repeats. `--fix` writes them, without it a difference is an error.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packages, root } from './workspace.mjs'

const fix = process.argv.includes('--fix')
const wrong = []
const missing = []

const order = [
  'name',
  'version',
  'private',
  'description',
  'keywords',
  'license',
  'repository',
  'type',
  'engines',
  'bin',
  'exports',
  'sideEffects',
  'containerd',
  'files',
  'publishConfig',
  'scripts',
  'peerDependencies',
  'dependencies',
  'devDependencies',
]

const [, pluginApiVersion] = /'(\d+\.\d+\.\d+)'/.exec(readFileSync(join(root, 'packages/plugin/src/api-version.ts'), 'utf8'))

function entry(path) {
  return { types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` }
}

function repeated({ group, folder, manifest, dir }) {
  const registers = existsSync(join(dir, 'src/index.ts')) && /^register\(/m.test(readFileSync(join(dir, 'src/index.ts'), 'utf8'))
  const library = existsSync(join(dir, 'src/index.ts'))
  const scripts = {
    ...manifest.scripts,
    build: manifest.scripts?.build ?? 'tsc -p tsconfig.build.json',
    typecheck: 'tsc -p tsconfig.json',
    lint: 'biome check --error-on-warnings .',
    test: 'vitest run --config ../../tooling/vitest/vitest.config.mjs --root .',
  }
  const wanted = {
    license: 'Apache-2.0',
    repository: { type: 'git', url: 'git+https://github.com/containerd-ts/containerd-ts.git', directory: `${group}/${folder}` },
    type: 'module',
    engines: { node: '>=20.19' },
    scripts,
    devDependencies: {
      ...manifest.devDependencies,
      '@types/node': 'catalog:',
      typescript: 'catalog:',
      vitest: 'catalog:',
    },
  }
  // Its tests depend on everything that is published.
  if (folder === 'packed') Object.assign(wanted.devDependencies, everythingPublished)
  if (!manifest.private) {
    wanted.publishConfig = { access: 'public', provenance: true }
    wanted.files = [...new Set([...(manifest.files ?? ['dist', 'src']), 'CHANGELOG.md'])]
  }
  if (library) {
    wanted.exports = { '.': entry('index'), ...manifest.exports, './package.json': './package.json' }
    // A daemon that loads the package from outside looks here before it runs any of its code.
    if (registers) wanted.containerd = { pluginApi: `^${pluginApiVersion}` }
    wanted.sideEffects = registers ? ['./dist/index.js', './src/index.ts'] : (manifest.sideEffects ?? false)
  }
  return wanted
}

const everythingPublished = Object.fromEntries(
  packages()
    .filter(({ manifest }) => !manifest.private)
    .map(({ manifest }) => [manifest.name, 'workspace:^']),
)

const tsconfig = {
  extends: '../../tooling/tsconfig/base.json',
  compilerOptions: { noEmit: true },
  include: ['src', 'test'],
}
const tsconfigBuild = {
  extends: '../../tooling/tsconfig/base.json',
  compilerOptions: { rootDir: 'src', outDir: 'dist' },
  include: ['src'],
}

function sorted(object) {
  return object && Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function own(path, text) {
  const now = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (now === text) return
  if (fix) writeFileSync(path, text)
  else wrong.push(path)
}

for (const p of packages()) {
  const merged = { ...p.manifest, ...repeated(p) }
  for (const key of ['peerDependencies', 'dependencies', 'devDependencies']) merged[key] = sorted(merged[key])
  const keys = [...new Set([...order, ...Object.keys(merged)])].filter((k) => merged[k] !== undefined)
  own(join(p.dir, 'package.json'), `${JSON.stringify(Object.fromEntries(keys.map((k) => [k, merged[k]])), null, 2)}\n`)
  own(join(p.dir, 'tsconfig.json'), `${JSON.stringify(tsconfig, null, 2)}\n`)
  own(join(p.dir, 'tsconfig.build.json'), `${JSON.stringify(tsconfigBuild, null, 2)}\n`)
}

for (const { dir, manifest } of packages().filter((p) => !p.manifest.private)) {
  for (const name of ['README.md', 'CHANGELOG.md']) {
    if (!existsSync(join(dir, name))) missing.push(`${manifest.name} has no ${name}`)
  }
}

for (const line of missing) console.error(line)
for (const path of wrong) console.error(`${path}: repeated fields differ; run \`node tooling/checks/manifests.mjs --fix\``)
process.exit(wrong.length + missing.length > 0 ? 1 : 0)
