import { mkdir, rm, truncate, writeFile } from 'node:fs/promises'
import { unmountAll } from '@containerd-ts/mount'
import { mustExec } from '@containerd-ts/testkit'

/** A filesystem of its own. */
export interface FreshDisk {
  /** Where it is mounted. */
  readonly path: string
  remove(): Promise<void>
}

/**
 * Makes an ext4 in a file and mounts it on `path`. On the filesystem of the machine what others delete meanwhile, or an earlier round
 * did, would count: ext4 does not use an inode again for minutes and looks for one that it may.
 */
export async function makeFreshDisk(path: string): Promise<FreshDisk> {
  const image = `${path}.img`
  await mkdir(path, { recursive: true })
  await writeFile(image, '')
  await truncate(image, 16e9)
  await mustExec('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard', image])
  await mustExec('mount', ['-o', 'loop', image, path])
  return {
    path,
    async remove() {
      // The last file of a stopped daemon, its log, may take a moment to be closed.
      await unmountAll(path)
      await rm(image)
      await rm(path, { recursive: true })
    },
  }
}
