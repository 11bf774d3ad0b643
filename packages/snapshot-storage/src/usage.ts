import { lstat, opendir } from 'node:fs/promises'
import { join } from 'node:path'
import type { SnapshotUsage } from '@containerd-ts/interface'

/** What a tree takes on disk: blocks and inodes, each inode once. Files that vanish meanwhile do not count. */
export async function diskUsage(root: string, signal?: AbortSignal): Promise<SnapshotUsage> {
  const seen = new Set<string>()
  let sizeBytes = 0
  const visit = async (path: string): Promise<boolean> => {
    const stat = await lstat(path).catch(ignoreMissing)
    if (stat === undefined) return false
    const inode = `${stat.dev}:${stat.ino}`
    if (!seen.has(inode)) {
      seen.add(inode)
      sizeBytes += stat.blocks * 512
    }
    return stat.isDirectory()
  }
  const pending = [root]
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    signal?.throwIfAborted()
    if (!(await visit(directory))) continue
    const handle = await opendir(directory, { bufferSize: 256 }).catch(ignoreMissing)
    if (handle === undefined) continue
    const files: Promise<boolean>[] = []
    for await (const entry of handle) {
      const path = join(directory, entry.name)
      if (entry.isDirectory()) pending.push(path)
      else files.push(visit(path))
      if (files.length >= 64) await Promise.all(files.splice(0))
    }
    await Promise.all(files)
  }
  return { inodes: seen.size, sizeBytes }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}
