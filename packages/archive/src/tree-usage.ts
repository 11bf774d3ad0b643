import { lstatSync, readdirSync } from 'node:fs'
import { compareTrees, isLinked } from './compare-trees.js'
import { childOf } from './entry-path.js'
import { bytePath, byteString, lstat } from './tree-operations.js'

/** What a tree takes on disk. */
export interface TreeUsage {
  /** Files and directories, the root included; one with several names counts once. */
  inodes: number
  /** Bytes of the blocks that are allocated. */
  sizeBytes: number
}

/** Measures a tree. What vanishes meanwhile does not count. `checkpoint` throws to stop. */
export function measureTree(root: string, checkpoint: () => void): TreeUsage {
  // Only a file with several names can be met twice.
  const linked = new Set<string>()
  let inodes = 1
  let { blocks } = lstatSync(root)
  const pending = [byteString(root)]
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    checkpoint()
    for (const name of namesUnlessGone(directory)) {
      const path = childOf(directory, name)
      const stat = lstat(path)
      if (stat === undefined) continue
      if (stat.isDirectory()) pending.push(path)
      else if (stat.nlink > 1) {
        const inode = `${stat.dev}:${stat.ino}`
        if (linked.has(inode)) continue
        linked.add(inode)
      }
      inodes++
      blocks += stat.blocks
    }
  }
  return { inodes, sizeBytes: blocks * 512 }
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
