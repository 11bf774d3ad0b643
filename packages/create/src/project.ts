import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { manifestOf } from './manifest.js'
import { choose } from './plugins.js'

/** The kinds of projects. */
export const kinds = ['daemon', 'snapshotter', 'service'] as const
/** What a project makes: a daemon, a snapshotter as an npm package, or a gRPC service as a single file. */
export type ProjectKind = (typeof kinds)[number]

/** What project is made, and where. */
export interface ProjectOptions {
  kind: ProjectKind
  /** Name of the package and of the program or plugin: lower case letters, digits, dashes. */
  name: string
  /** Made where missing; must be empty. */
  directory: string
  /** Names of plugins or presets for a daemon. */
  plugins?: readonly string[]
}

const templates = fileURLToPath(new URL('../template/', import.meta.url))

/**
 * Writes a new project and gives back the paths of its files.
 *
 * @throws Error for a name that is none, an unknown plugin, or a directory that holds something.
 */
export async function createProject({ kind, name, directory, plugins = ['images'] }: ProjectOptions): Promise<string[]> {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    throw new Error(`"${name}" is no name for a project: lower case letters, digits and single dashes, beginning with a letter`)
  const chosen = kind === 'daemon' ? choose(plugins) : []
  await mkdir(directory, { recursive: true })
  if ((await readdir(directory)).length > 0) throw new Error(`${directory} is not empty`)

  const files = new Map<string, string>()
  for (const entry of await readdir(join(templates, kind), { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const source = join(entry.parentPath, entry.name)
    const target = source.slice(join(templates, kind).length + 1)
    // npm leaves files of this name out of packages.
    files.set(fill(target.replace('_gitignore', '.gitignore'), name), fill(await readFile(source, 'utf8'), name))
  }
  files.set('package.json', `${JSON.stringify(await manifestOf(kind, name, chosen), null, 2)}\n`)
  if (kind === 'daemon') files.set('src/plugins.ts', imports(chosen))
  for (const [path, text] of files) {
    await mkdir(dirname(join(directory, path)), { recursive: true })
    await writeFile(join(directory, path), text)
  }
  return [...files.keys()].sort()
}

function fill(text: string, name: string): string {
  return text.replaceAll('__name__', name)
}

function imports(chosen: readonly string[]): string {
  // Shims report to the ttrpc listener, which comes with the others.
  const listeners = chosen.includes('runtime-linux') ? 'listeners' : 'grpc'
  const lines = [...chosen, `server/${listeners}`].map((name) => `import '@containerd-ts/${name}'`)
  return `// What this daemon has. Importing a package registers its plugins.\n${lines.join('\n')}\n`
}
