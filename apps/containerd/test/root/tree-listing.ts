import { createHash } from 'node:crypto'
import { type BigIntStats, createReadStream } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { getXattr, listXattrs } from '@containerd-ts/linux'

/**
 * Everything that a tree is, a line for each name below `root`: kind and mode, owner, size, time to the nanosecond, device, target,
 * content, extended attributes, and which names are one file.
 */
export async function listTree(root: string): Promise<string[]> {
  const lines: string[] = []
  const firstNames = new Map<bigint, string>()
  for (const name of (await namesBelow(root)).sort()) {
    const path = join(root, name)
    const stat = await lstat(path, { bigint: true })
    const parts = [
      JSON.stringify(name),
      stat.mode.toString(8),
      `${stat.uid}:${stat.gid}`,
      String(stat.mtimeNs),
      ...(await kindOf(path, stat)),
    ]
    for (const attribute of listXattrs(path).sort()) {
      // What overlayfs itself is told shows only to those who look below it.
      if (!attribute.startsWith('trusted.overlay.')) parts.push(`${attribute}=${getXattr(path, attribute)?.toString('hex')}`)
    }
    if (!stat.isDirectory() && stat.nlink > 1n) {
      if (!firstNames.has(stat.ino)) firstNames.set(stat.ino, name)
      parts.push(`${stat.nlink} names with ${firstNames.get(stat.ino)}`)
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

async function kindOf(path: string, stat: BigIntStats): Promise<string[]> {
  if (stat.isSymbolicLink()) return [`-> ${await readlink(path)}`]
  if (stat.isFile()) return [String(stat.size), await contentOf(path)]
  if (stat.isCharacterDevice() || stat.isBlockDevice()) return [`device ${stat.rdev}`]
  return []
}

async function contentOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}

/** Lines of one listing that are not in the other, with a sign before each; of many, the first. */
export function differences(before: readonly string[], after: readonly string[]): string[] {
  const [old, young] = [new Set(before), new Set(after)]
  const gone = before.filter((line) => !young.has(line)).map((line) => `- ${line}`)
  const come = after.filter((line) => !old.has(line)).map((line) => `+ ${line}`)
  return [...gone.slice(0, 10), ...come.slice(0, 10)]
}
