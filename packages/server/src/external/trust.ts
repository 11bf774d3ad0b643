import type { Stats } from 'node:fs'
import { lstat, readdir, realpath } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { isTable } from '../config/toml.js'
import { type FoundPlugin, readManifest } from './find.js'

/** Why the code of a plugin must not be loaded, undefined when it may. */
export type TrustCheck = (plugin: FoundPlugin) => Promise<string | undefined>

/**
 * Makes a check for the plugins in `directory`: everything that a plugin consists of, and the packages it depends on, must belong to
 * the daemon's user or to root and be writable by nobody else. Its sentence names the first thing that is not so.
 */
export function trustCheck(directory: string): TrustCheck {
  // Plugins share dependencies.
  const trees = new Map<string, Promise<string | undefined>>()
  return async (plugin) => {
    const top = await realpath(directory)
    const problem = untrustedEntry(top, await lstat(top))
    if (problem !== undefined) return problem
    if (plugin.directory === undefined) return untrustedFile(plugin.entry, top)
    for (const tree of await packageTrees(plugin.directory)) {
      let looked = trees.get(tree)
      if (looked === undefined) {
        looked = untrustedWay(tree, top).then((found) => found ?? untrustedTree(tree))
        trees.set(tree, looked)
      }
      const found = await looked
      if (found !== undefined) return found
    }
    return undefined
  }
}

function untrustedEntry(path: string, stats: Stats): string | undefined {
  const user = process.geteuid?.() ?? 0
  if (stats.uid !== user && stats.uid !== 0)
    return `${path} belongs to user ${stats.uid}, not to the daemon's: \`chown -R ${user} ${path}\` if you trust it`
  if ((stats.mode & 0o022) !== 0) return `${path} can be written by others: \`chmod -R go-w ${path}\` if you trust it`
  return undefined
}

/** A single module; a link must lead to a file that nobody else can replace. */
async function untrustedFile(path: string, top: string): Promise<string | undefined> {
  const real = await realpath(path)
  return untrustedEntry(real, await lstat(real)) ?? (await untrustedWay(real, top))
}

/** The directories above `path`: down from `top` where it lies there, otherwise all of them. Sticky ones may be writable. */
async function untrustedWay(path: string, top: string): Promise<string | undefined> {
  for (let parent = dirname(path); parent !== top; parent = dirname(parent)) {
    const stats = await lstat(parent)
    const sticky = (stats.mode & 0o1000) !== 0
    const problem = sticky && stats.uid === 0 ? undefined : untrustedEntry(parent, stats)
    if (problem !== undefined) return problem
    if (parent === dirname(parent)) break
  }
  return undefined
}

async function untrustedTree(directory: string): Promise<string | undefined> {
  const problem = untrustedEntry(directory, await lstat(directory))
  if (problem !== undefined) return problem
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isSymbolicLink()) {
      const target = await realpath(path).catch(() => path)
      if (!target.startsWith(`${directory}${sep}`) && entry.name !== '.bin' && !path.includes(`${sep}.bin${sep}`))
        return `${path} is a symbolic link out of its package`
      continue
    }
    const found = entry.isDirectory() ? await untrustedTree(path) : untrustedEntry(path, await lstat(path))
    if (found !== undefined) return found
  }
  return undefined
}

/** The directories of a package and of all that it depends on, as Node would find them. */
async function packageTrees(directory: string): Promise<string[]> {
  const trees = new Set([directory])
  for (const tree of trees) {
    const manifest = await readManifest(join(tree, 'package.json'))
    const names = ['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap((key) => {
      const listed = manifest?.[key]
      return isTable(listed) ? Object.keys(listed) : []
    })
    for (const name of names) {
      const found = await findDependency(tree, name)
      if (found !== undefined) trees.add(found)
    }
  }
  return [...trees]
}

async function findDependency(from: string, name: string): Promise<string | undefined> {
  for (let parent = from; ; parent = dirname(parent)) {
    const found = await realpath(join(parent, 'node_modules', name)).catch(() => undefined)
    if (found !== undefined) return found
    if (parent === dirname(parent)) return undefined
  }
}
