import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const workspace = resolve(fileURLToPath(import.meta.url), '../../../..')

/** A piece of code in a page of documentation. */
export interface Snippet {
  /** The page and the number of the line, for instance `docs/concepts.md:12`. */
  readonly place: string
  readonly language: string
  /** What follows the language: `no-run`, `serves`, `needs-daemon`. */
  readonly flags: readonly string[]
  readonly code: string
}

/** The snippets of the documentation and of every package's README. */
export function documentedSnippets(): Snippet[] {
  const pages = [join(workspace, 'README.md'), ...markdown(join(workspace, 'docs'))]
  for (const group of ['packages', 'apps']) {
    for (const name of readdirSync(join(workspace, group))) pages.push(join(workspace, group, name, 'README.md'))
  }
  return pages.flatMap(snippetsOf)
}

/** The first TypeScript of a page, given relative to the workspace. */
export function firstTypeScript(page: string): string {
  const found = snippetsOf(join(workspace, page)).find(({ language }) => language === 'ts')
  if (found === undefined) throw new Error(`${page} has no TypeScript`)
  return found.code
}

function markdown(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(directory, name))
}

function snippetsOf(path: string): Snippet[] {
  const source = readFileSync(path, 'utf8')
  return [...source.matchAll(/^```(\w+)([^\n]*)\n(.*?)^```$/gms)].map(
    ({ index, 1: language = '', 2: flags = '', 3: code = '' }) => ({
      place: `${relative(workspace, path)}:${source.slice(0, index).split('\n').length}`,
      language,
      flags: flags
        .trim()
        .split(/\s+/)
        .filter((flag) => flag !== ''),
      code,
    }),
  )
}
