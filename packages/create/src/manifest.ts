import { readFile } from 'node:fs/promises'
import type { ProjectKind } from './project.js'

const scope = '@containerd-ts/'

interface Dependencies {
  dependencies?: readonly string[]
  devDependencies: readonly string[]
  peerDependencies?: readonly string[]
}

/** The package.json of a new project. */
export async function manifestOf(kind: ProjectKind, name: string, plugins: readonly string[]): Promise<object> {
  const versions = JSON.parse(await readFile(new URL('versions.json', import.meta.url), 'utf8')) as Record<string, string>
  const pick = (names: readonly string[] = []) => {
    const entries = [...new Set(names)].sort().map((dependency) => {
      const version = versions[dependency]
      if (version === undefined) throw new Error(`no version of ${dependency} is known`)
      return [dependency, version] as const
    })
    return entries.length === 0 ? undefined : Object.fromEntries(entries)
  }
  const { dependencies, devDependencies, peerDependencies } = dependenciesOf(kind, plugins)
  return {
    name,
    version: '0.1.0',
    type: 'module',
    engines: { node: '>=20.19' },
    ...fieldsOf(kind, name),
    peerDependencies: pick(peerDependencies),
    dependencies: pick(dependencies),
    devDependencies: pick([...devDependencies, '@types/node', 'typescript']),
  }
}

const test = 'tsc -p tsconfig.json --outDir build && node --test build/test/*.test.js'

function fieldsOf(kind: ProjectKind, name: string): object {
  if (kind === 'daemon') {
    const scripts = { build: 'tsc -p tsconfig.json --noEmit && node build.mjs', test, start: `node dist/${name}.cjs config.toml` }
    return { private: true, bin: { [name]: `./dist/${name}.cjs` }, scripts }
  }
  const plugin = {
    description: `A containerd ${kind === 'service' ? 'gRPC service' : 'snapshotter'}`,
    keywords: ['containerd-plugin', kind],
    containerd: { pluginApi: '^1.0.0' },
  }
  if (kind === 'service') {
    const build = `tsc -p tsconfig.json --noEmit && esbuild src/index.ts --bundle --platform=node --target=node20 --format=esm --outfile=dist/${name}.mjs`
    return { ...plugin, exports: `./dist/${name}.mjs`, files: ['dist'], scripts: { build, test, prepack: 'npm run build' } }
  }
  const exports = { '.': { types: './dist/index.d.ts', default: './dist/index.js' } }
  const scripts = { build: 'tsc -p tsconfig.build.json', test, prepack: 'npm run build' }
  return { ...plugin, exports, files: ['dist'], scripts }
}

function dependenciesOf(kind: ProjectKind, plugins: readonly string[]): Dependencies {
  const own = (names: readonly string[]) => names.map((name) => `${scope}${name}`)
  switch (kind) {
    case 'daemon':
      // Everything but native code is in the bundle.
      return {
        dependencies: ['classic-level', 'koffi'],
        devDependencies: own([...plugins, 'bundle', 'client', 'plugin', 'server']),
      }
    case 'snapshotter':
      return {
        peerDependencies: own(['plugin']),
        dependencies: own(['archive', 'interface', 'snapshot-storage']),
        devDependencies: own(['conformance', 'mount', 'plugin']),
      }
    case 'service':
      return {
        devDependencies: [
          '@grpc/grpc-js',
          'esbuild',
          ...own(['api', 'content-local', 'events-exchange', 'interface', 'metadata-level', 'plugin', 'server']),
        ],
      }
  }
}
