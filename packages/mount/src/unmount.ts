import { realpath } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, unmount as unmountOnce } from '@containerd-ts/linux'
import { joinConfined } from './confined-path.js'
import type { Mount } from './mount-all.js'
import { mountsBelow } from './mount-info.js'

const attempts = 50
const pauseMs = 50

/**
 * Unmounts the topmost mount of `target`, waiting for up to 2.5 s while it is busy. That nothing is mounted there is no error.
 *
 * @returns whether there was a mount.
 * @throws SystemError, EBUSY for instance
 */
export async function unmount(target: string, flags = 0): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await unmountOnce(target, flags)
      return true
    } catch (error) {
      if (isErrno(error, 'EINVAL') || isErrno(error, 'ENOENT')) return false
      if (!isErrno(error, 'EBUSY') || attempt === attempts) throw error
    }
    await sleep(pauseMs)
  }
}

/** Unmounts `target` until nothing is mounted there any more. An empty or missing target is no error. */
export async function unmountAll(target: string, flags = 0): Promise<void> {
  if (target === '') return
  while (await unmount(target, flags));
}

/** Unmounts what `mountAll(mounts, target)` mounted, last first. Only the failure of the first one, the last to go, counts. */
export async function unmountMounts(mounts: readonly Mount[], target: string, flags = 0): Promise<void> {
  for (const [index, mount] of [...mounts.entries()].reverse()) {
    try {
      await unmountAll(joinConfined(target, mount.target), flags)
    } catch (error) {
      if (index === 0) throw error
    }
  }
}

/** Unmounts everything at and below `target`, deepest first. Only a failure at `target` itself counts; a missing one is no error. */
export async function unmountRecursive(target: string, flags = 0): Promise<void> {
  if (target === '') return
  const path = await realpath(target).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  })
  if (path === undefined) return
  const points = new Set((await mountsBelow(path)).map((mount) => mount.mountPoint))
  for (const point of points) {
    try {
      await unmountAll(point, flags)
    } catch (error) {
      if (point === path) throw error
    }
  }
}
