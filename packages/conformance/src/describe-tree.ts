import { createHash } from 'node:crypto'
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

/** Everything below a directory, a line each: path, kind and mode, owner, seconds, content or target, other names. */
export async function describeTree(root: string): Promise<string[]> {
  const names = (await namesBelow(root)).sort()
  const firstNames = new Map<number, string>()
  const lines: string[] = []
  for (const name of names) {
    const path = join(root, name)
    const stat = await lstat(path)
    const parts = [name, stat.mode.toString(8), `${stat.uid}:${stat.gid}`]
    if (!stat.isDirectory()) parts.push(String(Math.floor(stat.mtimeMs / 1000)))
    if (stat.isSymbolicLink()) parts.push(`-> ${await readlink(path)}`)
    if (stat.isFile())
      parts.push(
        String(stat.size),
        createHash('sha256')
          .update(await readFile(path))
          .digest('hex')
          .slice(0, 16),
      )
    if (!stat.isDirectory() && stat.nlink > 1) {
      const first = firstNames.get(stat.ino) ?? name
      firstNames.set(stat.ino, first)
      parts.push(`= ${first}`)
    }
    lines.push(parts.join(' '))
  }
  return lines
}

/** Without what a link to a directory leads to. */
async function namesBelow(root: string, directory = ''): Promise<string[]> {
  const names: string[] = []
  for (const entry of await readdir(join(root, directory), { withFileTypes: true })) {
    const name = join(directory, entry.name)
    names.push(name)
    if (entry.isDirectory()) names.push(...(await namesBelow(root, name)))
  }
  return names
}
