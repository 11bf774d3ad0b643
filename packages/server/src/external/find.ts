import { readdir, readFile, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { isErrno } from '@containerd-ts/linux'
import { isTable } from '../config/toml.js'

/** A plugin that lies in the directory of plugins from outside, not loaded yet. */
export interface FoundPlugin {
  /** Name of the package, or of the file. */
  readonly name: string
  /** Version of the package; absent for a file. */
  readonly version?: string
  /** The directory of the package, symbolic links resolved; absent for a file. */
  readonly directory?: string
  /** The module to load. */
  readonly entry: string
  /** The range of the plugin API that the manifest declares; a file's module declares it itself. */
  readonly api?: string
  /** Why it cannot be loaded, as far as its manifest tells. */
  readonly problem?: string
}

/** The word in a manifest's `keywords` by which a package is known as a plugin. */
export const pluginKeyword = 'containerd-plugin'

/**
 * What lies in `directory`, by name: ES modules (`*.mjs`, `*.js`), and packages of its `node_modules` that are plugins: those that its
 * `package.json` depends on, or all where it has none. A directory that is not there holds nothing.
 */
export async function findPlugins(directory: string): Promise<FoundPlugin[]> {
  const names = (await listDirectory(directory)).sort()
  const files = names.filter((name) => /\.m?js$/.test(name)).map((name) => ({ name, entry: join(directory, name) }))
  if (!names.includes('node_modules')) return files
  const packages = await Promise.all((await packageNames(directory)).map((name) => readPackage(directory, name)))
  return [...files, ...packages.filter((found) => found !== undefined)]
}

async function listDirectory(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

async function packageNames(directory: string): Promise<string[]> {
  const manifest = await readManifest(join(directory, 'package.json'))
  if (manifest !== undefined) return Object.keys(isTable(manifest['dependencies']) ? manifest['dependencies'] : {}).sort()
  const modules = join(directory, 'node_modules')
  const names = (await listDirectory(modules)).filter((name) => !name.startsWith('.'))
  const scoped = await Promise.all(
    names.map(async (name) =>
      name.startsWith('@') ? (await listDirectory(join(modules, name))).map((inner) => `${name}/${inner}`) : [name],
    ),
  )
  return scoped.flat().sort()
}

async function readPackage(directory: string, name: string): Promise<FoundPlugin | undefined> {
  const installed = join(directory, 'node_modules', name)
  const path = join(installed, 'package.json')
  const manifest = await readManifest(path)
  if (manifest === undefined) return { name, entry: path, problem: `${path} is missing or no JSON: install the package again` }
  const own = manifest['containerd']
  const keywords = manifest['keywords']
  const isPlugin = isTable(own) || (Array.isArray(keywords) && keywords.includes(pluginKeyword))
  if (!isPlugin) return undefined
  const real = await realpath(installed)
  const version = typeof manifest['version'] === 'string' ? manifest['version'] : '0.0.0'
  const main = entryPoint(manifest['exports']) ?? (typeof manifest['main'] === 'string' ? manifest['main'] : 'index.js')
  const api = isTable(own) && typeof own['pluginApi'] === 'string' ? own['pluginApi'] : undefined
  const found = { name, version, directory: real, entry: join(real, main), ...(api !== undefined && { api }) }
  // Only what is in the package has been looked at before it is loaded.
  if (!found.entry.startsWith(`${real}${sep}`))
    return { ...found, problem: `its entry point ${main} lies outside of the package` }
  return found
}

/** A package's manifest, undefined when there is none that can be read. */
export async function readManifest(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readFile(path, 'utf8'))
    return isTable(manifest) ? manifest : undefined
  } catch (error) {
    if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined
    throw error
  }
}

const conditions = ['node', 'import', 'module-sync', 'default']

/** What `exports` gives for the package itself under Node's conditions for `import`. */
function entryPoint(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports
  if (Array.isArray(exports)) return exports.map(entryPoint).find((found) => found !== undefined)
  if (!isTable(exports)) return undefined
  if ('.' in exports) return entryPoint(exports['.'])
  for (const [condition, target] of Object.entries(exports)) {
    const found = conditions.includes(condition) ? entryPoint(target) : undefined
    if (found !== undefined) return found
  }
  return undefined
}
