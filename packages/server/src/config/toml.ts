import { readFile } from 'node:fs/promises'
import { parse, TomlError } from 'smol-toml'

/** A configuration file cannot be read, parsed or understood. The message begins with the file and, where known, the line. */
export class ConfigFileError extends Error {
  override readonly name = 'ConfigFileError'
}

export type Table = Record<string, unknown>

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** A parsed file and its text, from which positions are found. */
export interface TomlFile {
  readonly path: string
  readonly source: string
  readonly table: Table
}

/** @throws ConfigFileError with file, line and column; the errno stays visible as `cause`. */
export async function readToml(path: string): Promise<TomlFile> {
  let source: string
  try {
    source = await readFile(path, 'utf8')
  } catch (cause) {
    throw new ConfigFileError(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  return { path, source, table: parseToml(path, source) }
}

function parseToml(path: string, source: string): Table {
  try {
    return parse(source)
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    const [reason] = cause.message.replace('Invalid TOML document: ', '').split('\n')
    throw new ConfigFileError(`${path}:${cause.line}:${cause.column}: ${reason}`, { cause })
  }
}

/**
 * Where a key stands, in a list of tables with its place as in `list[1]`: `path:line`, or undefined when it is not there or written in
 * a way that is not recognised.
 */
export function locate(file: TomlFile, keyPath: readonly string[]): string | undefined {
  let section: readonly string[] = []
  const counts = new Map<string, number>()
  for (const [index, line] of file.source.split('\n').entries()) {
    const header = /^\s*\[(\[?)\s*([^\]]+?)\s*\]/.exec(line)
    if (header?.[2] !== undefined) {
      section = splitKey(header[2])
      if (header[1] !== '') {
        const count = counts.get(header[2]) ?? 0
        counts.set(header[2], count + 1)
        section = [...section.slice(0, -1), `${section.at(-1)}[${count}]`]
      }
      if (sameKey(section, keyPath)) return `${file.path}:${index + 1}`
      continue
    }
    const assignment = /^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=/.exec(line)
    if (assignment?.[1] !== undefined && sameKey([...section, ...splitKey(assignment[1])], keyPath))
      return `${file.path}:${index + 1}`
  }
  return undefined
}

function splitKey(key: string): string[] {
  return [...key.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map(([, double, single, bare]) => double ?? single ?? bare ?? '')
}

function sameKey(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index])
}
