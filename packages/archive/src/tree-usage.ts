import { lstatSync, readdirSync, type Stats } from 'node:fs'
import { lstat as lstatLater, readdir as readdirLater } from 'node:fs/promises'
import { isErrno } from '@containerd-ts/linux'
import { compareTrees, isLinked } from './compare-trees.js'
import { childOf } from './entry-path.js'
import { bytePath, byteString, lstat } from './tree-operations.js'

// Bytes of a directory for a name of it, at most 255 and what goes with them.
const longName = 280

// Enough for the thread pool, and few enough to begin them within a fraction of a millisecond.
const statsAtOnce = 64

/** What a tree takes on disk. */
export interface TreeUsage {
  /** Files and directories, the root included; one with several names counts once. */
  inodes: number
  /** Bytes of the blocks that are allocated. */
  sizeBytes: number
}

/** Measures a tree. What vanishes meanwhile does not count. `checkpoint` throws to stop. */
export function measureTree(root: string, checkpoint: () => void): TreeUsage {
  const tally = createTally()
  tally.add(lstatSync(root))
  const pending = [byteString(root)]
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    checkpoint()
    for (const name of namesUnlessGone(directory)) {
      const path = childOf(directory, name)
      const stat = lstat(path)
      if (stat === undefined) continue
      if (stat.isDirectory()) pending.push(path)
      tally.add(stat)
    }
  }
  return tally.usage()
}

/**
 * As {@link measureTree}, without a thread of its own; undefined when there are more than `limit` files and directories, which would
 * take too long here.
 */
export async function measureSmallTree(
  root: string,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<TreeUsage | undefined> {
  const tally = createTally()
  const pending = [{ path: byteString(root), stat: await lstatLater(root) }]
  let left = limit
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path: directory, stat } = next
    tally.add(stat)
    if (!stat.isDirectory()) continue
    signal?.throwIfAborted()
    // What its names take tells how many there may be.
    if (stat.size > limit * longName) return undefined
    const names = await namesLaterUnlessGone(directory)
    left -= names.length
    if (left < 0) return undefined
    for (let at = 0; at < names.length; at += statsAtOnce) {
      const some = names.slice(at, at + statsAtOnce).map((name) => childOf(directory, name))
      const stats = await Promise.all(some.map(statUnlessGone))
      for (const [index, path] of some.entries()) {
        const child = stats[index]
        if (child !== undefined) pending.push({ path, stat: child })
      }
    }
  }
  return tally.usage()
}

function createTally(): { add(stat: Stats): void; usage(): TreeUsage } {
  // Only a file with several names can be met twice.
  const linked = new Set<string>()
  let inodes = 0
  let blocks = 0
  return {
    add(stat) {
      if (!stat.isDirectory() && stat.nlink > 1) {
        const inode = `${stat.dev}:${stat.ino}`
        if (linked.has(inode)) return
        linked.add(inode)
      }
      inodes++
      blocks += stat.blocks
    },
    usage: () => ({ inodes, sizeBytes: blocks * 512 }),
  }
}

/** Measures what of a tree is not as in the tree `base`: what a snapshot of it has added. `checkpoint` throws to stop. */
export function measureChanges(base: string, root: string, checkpoint: () => void): TreeUsage {
  const linked = new Set<bigint>()
  let inodes = 0
  let blocks = 0n
  compareTrees(byteString(base), byteString(root), (kind, _, stat) => {
    checkpoint()
    if (stat === undefined || kind === 'unmodified') return
    if (isLinked(stat)) {
      if (linked.has(stat.ino)) return
      linked.add(stat.ino)
    }
    inodes++
    blocks += stat.blocks
  })
  return { inodes, sizeBytes: Number(blocks) * 512 }
}

function namesUnlessGone(directory: string): string[] {
  try {
    return readdirSync(bytePath(directory), { encoding: 'latin1' })
  } catch (error) {
    if (lstat(directory)?.isDirectory() === true) throw error
    return []
  }
}

async function namesLaterUnlessGone(directory: string): Promise<string[]> {
  try {
    return await readdirLater(bytePath(directory), { encoding: 'latin1' })
  } catch (error) {
    if ((await statUnlessGone(directory))?.isDirectory() === true) throw error
    return []
  }
}

async function statUnlessGone(path: string): Promise<Stats | undefined> {
  try {
    return await lstatLater(bytePath(path))
  } catch (error) {
    if (!isErrno(error, 'ENOENT') && !isErrno(error, 'ENOTDIR')) throw error
    return undefined
  }
}
