import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import { inUserNamespace, mount, UnmountFlag, unmount } from '@containerd-ts/linux'

/** Whether overlayfs works on a directory, and if not, why. */
export type Detected =
  /** Options that every mount needs here. */
  { readonly options: readonly string[] } | { readonly reason: string }

const prefix = 'check-overlayfs-'

/**
 * Tries an overlay on the directory, making it where missing: kernels without overlayfs, filesystems that cannot be its upper layer
 * (no d_type, no trusted attributes) and a lack of privilege all show here.
 */
export async function detectOverlay(root: string): Promise<Detected> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  await removeTrials(root)
  const trial = await mkdtemp(join(root, prefix))
  try {
    const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(trial, name)) as [
      string,
      string,
      string,
      string,
    ]
    for (const directory of [lower, upper, work, merged]) await mkdir(directory)
    await writeFile(join(lower, 'file'), '')
    // The kind of an entry is only told by readdir on filesystems with d_type; without it whiteouts would be shown as files.
    const [entry] = await readdir(lower, { withFileTypes: true })
    if (entry?.isFile() !== true) return { reason: 'its filesystem does not tell the type of directory entries (d_type)' }
    const data = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
    const userXattr = inUserNamespace() && (await works(merged, `${data},userxattr`))
    if (!userXattr) {
      await mount({ type: 'overlay', source: 'overlay', target: merged, data })
      await unmount(merged)
    }
    return {
      options: [
        ...(userXattr ? ['userxattr'] : []),
        ...(existsSync('/sys/module/overlay/parameters/index') ? ['index=off'] : []),
      ],
    }
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) }
  } finally {
    await rm(trial, { recursive: true, force: true })
  }
}

/** What a daemon has left that was killed while it tried. */
async function removeTrials(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (!name.startsWith(prefix)) continue
    const trial = join(root, name)
    await unmount(join(trial, 'merged'), UnmountFlag.Detach).catch(() => {})
    await rm(trial, { recursive: true, force: true })
  }
}

/** Whether overlayfs takes lower directories whose owners are translated by their mounts: Linux 5.19 and newer. */
export function mapsOverlays(kernel = release()): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10))
  return major > 5 || (major === 5 && minor >= 19)
}

/** In a user namespace overlayfs needs attributes of its own kind for its marks; older kernels with patches do not know that option. */
async function works(target: string, data: string): Promise<boolean> {
  try {
    await mount({ type: 'overlay', source: 'overlay', target, data })
  } catch {
    return false
  }
  await unmount(target)
  return true
}
