import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '@containerd-ts/interface'
import type { SnapshotStorage } from './storage.js'

/**
 * Deletes the entries of a directory that no snapshot owns: what a crash or an asynchronous removal has left. `<id>` and `new-<id>`
 * belong to the snapshot of that id. `remove` removes one with all that is in it.
 */
export async function removeOrphans(
  directory: string,
  storage: SnapshotStorage,
  remove: (path: string) => Promise<void>,
): Promise<string[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  })
  const removed: string[] = []
  for (const name of names) {
    const id = /^(?:new-)?([1-9]\d*)$/.exec(name)?.[1]
    // An id that is not in use will never be in use again.
    if (id !== undefined && storage.isLive(Number(id))) continue
    await remove(join(directory, name))
    removed.push(name)
  }
  return removed
}
