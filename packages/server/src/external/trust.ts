import type { Stats } from 'node:fs'
import { lstat, readdir, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isTable } from '../config/toml.js'
import { type FoundPlugin, readManifest } from './find.js'

/** Why the code of a plugin must not be loaded, undefined when it may. */
export type TrustCheck = (plugin: FoundPlugin) => Promise<string | undefined>

/**
 * Makes a check for the plugins in `directory`: everything that a plugin may consist of must belong to the daemon's user or to root and be
 * writable by nobody else, and so must what links lead to. For a package that is itself and the packages it depends on, for a single
 * module, which may import anything beside it, the whole directory. The sentence names the first thing that is not so.
 */
export function trustCheck(directory: string): TrustCheck {
  // Plugins share dependencies.
  const trees = new Map<string, Promise<string | undefined>>()
  return async (plugin) => {
    const top = await realpath(directory)
    const problem = untrustedEntry(top, await lstat(top))
    if (problem !== undefined) return problem
    for (const tree of plugin.directory === undefined ? [top] : await packageTrees(plugin.directory)) {
      let looked = trees.get(tree)
      if (looked === undefined) {
        looked = untrustedTarget(tree, top, new Set())
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

/** A file or a tree together with the way to it. */
async function untrustedTarget(path: string, top: string, seen: Set<string>): Promise<string | undefined> {
  return (path === top ? undefined : await untrustedWay(path, top)) ?? (await untrustedTree(path, top, seen))
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

async function untrustedTree(path: string, top: string, seen: Set<string>): Promise<string | undefined> {
  if (seen.has(path)) return undefined
  seen.add(path)
  const stats = await lstat(path)
  if (stats.isSymbolicLink()) {
    const target = await realpath(path).catch(() => undefined)
    return target === undefined ? undefined : untrustedTarget(target, top, seen)
  }
  const problem = untrustedEntry(path, stats)
  if (problem !== undefined || !stats.isDirectory()) return problem
  for (const name of await readdir(path)) {
    const found = await untrustedTree(join(path, name), top, seen)
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
