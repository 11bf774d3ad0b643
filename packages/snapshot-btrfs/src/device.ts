import { realpath } from 'node:fs/promises'
import { dirname, sep } from 'node:path'
import { FilesystemType, filesystemOf, isErrno } from '@containerd-ts/linux'
import { readMountInfo } from '@containerd-ts/mount'

/** Whether a directory, which need not exist yet, lies on btrfs. */
export async function isOnBtrfs(path: string): Promise<boolean> {
  return filesystemOf(await existingPart(path)).type === FilesystemType.Btrfs
}

/** The block device of the filesystem that an existing directory lies on. */
export async function deviceOf(path: string): Promise<string> {
  const real = await realpath(path)
  const holds = (point: string) => point === sep || real === point || real.startsWith(`${point}${sep}`)
  let found: { point: string; source: string } | undefined
  for (const { mountPoint: point, source } of await readMountInfo()) {
    // The deepest one; of several on one place, the last covers the others.
    if (holds(point) && point.length >= (found?.point.length ?? 0)) found = { point, source }
  }
  if (found === undefined) throw new Error(`nothing is mounted that holds ${path}`)
  return found.source
}

async function existingPart(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
    return existingPart(dirname(path))
  }
}
