import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Mount } from '@containerd-ts/api/containerd/types/mount'
import { mountAll, unmountRecursive } from '@containerd-ts/mount'

/** Mounts a container's root filesystem, in order, at `rootfs` of its bundle. @throws when one fails; nothing stays mounted then. */
export async function mountRootfs(bundle: string, mounts: readonly Mount[]): Promise<void> {
  const target = join(bundle, 'rootfs')
  mkdirSync(target, { recursive: true, mode: 0o711 })
  await mountAll(mounts, target, { undo: true })
}

/** Unmounts whatever is mounted at and below `rootfs`; nothing is no error. */
export async function unmountRootfs(bundle: string): Promise<void> {
  await unmountRecursive(join(bundle, 'rootfs'))
}
