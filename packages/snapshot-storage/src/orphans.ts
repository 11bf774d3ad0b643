import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '@containerd-ts/interface'
import type { SnapshotStorage } from './storage.js'

/** Deletes the entries of a directory that no snapshot owns: what a crash or an asynchronous removal has left. */
export async function removeOrphans(directory: string, storage: SnapshotStorage): Promise<string[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  })
  const orphans = names.filter((name) => !(/^[1-9]\d*$/.test(name) && storage.isLive(Number(name))))
  for (const name of orphans) await rm(join(directory, name), { recursive: true, force: true })
  return orphans
}
