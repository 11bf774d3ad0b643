import { mkdir, mkdtemp, readdir, realpath, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isErrno, UnmountFlag } from '@containerd-ts/linux'
import { type Mount, mountAll } from './mount-all.js'
import { readonlyMounts, withoutVolatile } from './overlay-options.js'
import { unmountAll, unmountMounts, unmountRecursive } from './unmount.js'

const prefix = 'containerd-mount'

/** Where and how something is mounted for a while. */
export interface TempMountOptions {
  /** Where the temporary directory is made. Default: the system's directory for temporary files. */
  root?: string
  /** Mounts for reading only. */
  readonly?: boolean
}

/**
 * Mounts onto a temporary directory for as long as `use` runs. The directory is removed only when it is empty: a failed unmount must
 * not eat data.
 */
export async function withTempMount<T>(
  mounts: readonly Mount[],
  options: TempMountOptions,
  use: (root: string) => Promise<T>,
): Promise<T> {
  const wanted = withoutVolatile(options.readonly ? readonlyMounts(mounts) : mounts)
  const parent = options.root ?? tmpdir()
  await mkdir(parent, { recursive: true, mode: 0o700 })
  const root = await mkdtemp(join(parent, prefix))
  try {
    await mountAll(wanted, root, { undo: true })
    try {
      return await use(root)
    } finally {
      await unmountMounts(wanted, root)
    }
  } finally {
    await rmdir(root).catch(() => {})
  }
}

/** Detaches and removes what an earlier run left below a root for temporary mounts. To be called before the root is used. */
export async function cleanupTempMounts(root: string): Promise<void> {
  let names: string[]
  try {
    root = await realpath(root)
    names = await readdir(root)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    throw error
  }
  for (const name of names) {
    if (!name.startsWith(prefix)) continue
    const directory = join(root, name)
    await unmountRecursive(directory, UnmountFlag.Detach)
    await unmountAll(directory, UnmountFlag.Detach)
    await rmdir(directory).catch((error: unknown) => {
      if (!isErrno(error, 'ENOTEMPTY')) throw error
    })
  }
}
