import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Files that match a pattern whose last component may hold `*` and `?`, sorted by name. A missing directory matches nothing. */
export async function glob(pattern: string): Promise<string[]> {
  const directory = dirname(pattern)
  const expression = basename(pattern)
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names
    .filter((name) => new RegExp(`^${expression}$`).test(name))
    .sort()
    .map((name) => join(directory, name))
}
