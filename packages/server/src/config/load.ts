import { dirname, isAbsolute, join } from 'node:path'
import { isErrno } from '@containerd-ts/linux'
import { glob } from './glob.js'
import { configVersion, migrate } from './migrate.js'
import { ConfigFileError, isTable, locate, readToml, type Table, type TomlFile } from './toml.js'

/** A configuration with its imports merged, at the newest version, and the files it came from. */
export interface ConfigDocument {
  readonly table: Table
  readonly files: readonly TomlFile[]
}

/** How a configuration file is looked for. */
export interface LoadConfigOptions {
  /** A file that is not there is as good as an empty one. */
  optional?: boolean
  /** What is imported when the file does not say. */
  defaultImports?: readonly string[]
}

/**
 * Reads a configuration file and everything it imports. Later files override: scalars replace, lists grow without duplicates, tables
 * merge; each file is read once, so that imports may form a circle.
 *
 * @throws ConfigFileError
 */
export async function loadConfigFile(path: string, options: LoadConfigOptions = {}): Promise<ConfigDocument> {
  const files: TomlFile[] = []
  const main = options.optional === true ? await readIfThere(path) : await readToml(path)
  const version = versionOf(main)
  const pending = [main]
  const seen = new Set([path])
  let table: Table = {}
  for (let file = pending.shift(); file !== undefined; file = pending.shift()) {
    if (versionOf(file) > version) {
      throw new ConfigFileError(
        `${at(file, 'version')}: drop-in config version ${versionOf(file)} is higher than the version ${version} of ${path}`,
      )
    }
    // One that is not there is none of them.
    if (file.source !== '') files.push(file)
    table = merge(table, migrate(file.table), [])
    for (const imported of await importsOf(file, file === main ? options.defaultImports : undefined)) {
      if (seen.has(imported)) continue
      seen.add(imported)
      pending.push(await readToml(imported))
    }
  }
  return { table, files }
}

function at(file: TomlFile, key: string): string {
  return locate(file, [key]) ?? file.path
}

function versionOf(file: TomlFile): number {
  const version = file.table['version'] ?? 1
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 0) {
    throw new ConfigFileError(`${at(file, 'version')}: version must be an integer`)
  }
  if (version > configVersion) {
    throw new ConfigFileError(
      `${at(file, 'version')}: expected containerd config version equal to or less than ${configVersion}, got ${version}`,
    )
  }
  return Math.max(version, 1)
}

/** A file that is not there is one of the newest version without a word in it. */
async function readIfThere(path: string): Promise<TomlFile> {
  try {
    return await readToml(path)
  } catch (error) {
    const missing = error instanceof ConfigFileError && isErrno(error.cause, 'ENOENT')
    if (!missing) throw error
    return { path, source: '', table: { version: configVersion } }
  }
}

async function importsOf(file: TomlFile, otherwise: readonly string[] = []): Promise<string[]> {
  const imports = file.table['imports'] ?? otherwise
  if (!Array.isArray(imports) || !imports.every((entry): entry is string => typeof entry === 'string')) {
    throw new ConfigFileError(`${at(file, 'imports')}: imports must be a list of strings`)
  }
  const paths = imports.map((entry) => (isAbsolute(entry) ? entry : join(dirname(file.path), entry)))
  const expanded = await Promise.all(paths.map(async (path) => (path.includes('*') ? await glob(path) : [path])))
  return expanded.flat()
}

// Entries of these tables are replaced as a whole.
const replacedPerKey = new Set(['timeouts', 'stream_processors', 'proxy_plugins'])

function isZero(value: unknown): boolean {
  return value === '' || value === 0 || value === false || value === 0n
}

function merge(base: Table, over: Table, path: readonly string[]): Table {
  const merged: Table = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const existing = merged[key]
    if (isTable(value) && isTable(existing)) {
      const [top = key] = path
      merged[key] = replacedPerKey.has(top) && path.length > 0 ? value : merge(existing, value, [...path, key])
    } else if (Array.isArray(value) && Array.isArray(existing)) {
      merged[key] = [...new Set([...existing, ...value])]
    } else if (existing === undefined || !isZero(value)) {
      merged[key] = value
    }
  }
  return merged
}
