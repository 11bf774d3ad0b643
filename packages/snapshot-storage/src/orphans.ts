import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '@containerd-ts/interface'

/**
 * Deletes the entries of a directory that no snapshot owns: what a crash or an asynchronous removal has left. `<id>` belongs to the
 * snapshot of that id if `owns` says so. `remove` removes one with all that is in it.
 */
export async function removeOrphans(
  directory: string,
  owns: (id: number) => boolean,
  remove: (path: string) => Promise<void>,
): Promise<string[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  })
  const removed: string[] = []
  for (const name of names) {
    // An id that is not in use will never be in use again.
    if (/^[1-9]\d*$/.test(name) && owns(Number(name))) continue
    await remove(join(directory, name))
    removed.push(name)
  }
  return removed
}
