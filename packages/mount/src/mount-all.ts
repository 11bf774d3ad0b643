import {
  changeDirectory,
  errorText,
  type MountCall,
  mount as mountInBackground,
  mountSync,
  SystemError,
} from '@containerd-ts/linux'
import { joinConfined } from './confined-path.js'
import { mapLowers, mountMapped, parseIdMap } from './id-mapped.js'
import { type MountPlan, planMount } from './mount-call.js'
import { mountFrom } from './mount-thread.js'
import { parseMountOptions } from './options.js'
import { unmount } from './unmount.js'

/** One mount: the arguments of mount(8). */
export interface Mount {
  type: string
  source: string
  /** Path below the mount point, normally empty. */
  target: string
  options: string[]
}

/** A mount that the kernel refused; `code` and `errno` are those of the system call. */
export class MountError extends Error {
  override readonly name = 'MountError'
  readonly code: string
  readonly errno: number

  constructor(call: MountCall, cause: SystemError) {
    const { source = '', target, type = '', flags = 0, data = '' } = call
    super(
      `mount source: "${source}", target: "${String(target)}", fstype: ${type}, flags: ${flags}, data: "${data}", err: ${errorText(cause.errno)}`,
      { cause },
    )
    this.code = cause.code
    this.errno = cause.errno
  }
}

/** How several mounts are made. */
export interface MountAllOptions {
  /** Unmounts again what was mounted before the failure. Default: leaves it, as the caller knows what to do. */
  undo?: boolean
}

/**
 * Mounts all onto `target`, in order, off the event loop. A mount's own `target` is below it, links confined to it.
 *
 * @throws MountError, and InvalidArgument or Unimplemented for options that are wrong or not known here.
 */
export async function mountAll(mounts: readonly Mount[], target: string, options: MountAllOptions = {}): Promise<void> {
  const done: string[] = []
  try {
    for (const mount of mounts) {
      const destination = destinationOf(mount, target)
      const { mount: shown, undo } = withMappedLowers(mount)
      try {
        const plan = planMount(shown, destination)
        if (plan.first !== undefined && plan.bound !== true) {
          await perform(plan.first, plan)
          done.push(destination)
        }
        if (plan.maps !== undefined) {
          performMapped(shown, destination, plan)
          done.push(destination)
        }
        if (plan.remount !== undefined) await perform(plan.remount(), {})
      } finally {
        undo()
      }
    }
  } catch (error) {
    if (options.undo) for (const destination of done.reverse()) await unmount(destination).catch(() => {})
    throw error
  }
}

/** An overlay with translated owners gets lower directories that show them. */
function withMappedLowers(mount: Mount): { mount: Mount; undo: () => void } {
  if (mount.type !== 'overlay') return { mount, undo() {} }
  const { uidmap, gidmap } = parseMountOptions(mount.options)
  if (!uidmap || !gidmap) return { mount, undo() {} }
  try {
    return mapLowers(mount, { uids: parseIdMap(uidmap), gids: parseIdMap(gidmap) })
  } catch (error) {
    throw asMountError({ source: mount.source, target: '', type: mount.type, data: mount.options.join(',') }, error)
  }
}

function performMapped(mount: Mount, destination: string, { first, maps, bound, recursive }: MountPlan): void {
  if (maps === undefined) return
  try {
    mountMapped(bound === true ? mount.source : destination, destination, maps, { recursive: recursive === true })
  } catch (error) {
    throw asMountError(first ?? { source: mount.source, target: destination, type: mount.type }, error)
  }
}

async function perform(call: MountCall, { directory }: MountPlan): Promise<void> {
  try {
    if (directory === undefined) await mountInBackground(call)
    else await mountFrom(directory, call)
  } catch (error) {
    throw asMountError(call, error)
  }
}

/**
 * {@link mountAll} at once, for a thread that has a filesystem context and mounts of its own (`unshare`): it may change the working
 * directory, and what it mounted goes away with the thread.
 */
export function mountAllSync(mounts: readonly Mount[], target: string): void {
  for (const mount of mounts) {
    const destination = destinationOf(mount, target)
    const { mount: shown, undo } = withMappedLowers(mount)
    try {
      const plan = planMount(shown, destination)
      const { first, directory, remount, bound } = plan
      if (directory !== undefined) changeDirectory(directory)
      try {
        if (first !== undefined && bound !== true) performSync(first)
      } finally {
        if (directory !== undefined) changeDirectory('/')
      }
      performMapped(shown, destination, plan)
      if (remount !== undefined) performSync(remount())
    } finally {
      undo()
    }
  }
}

function performSync(call: MountCall): void {
  try {
    mountSync(call)
  } catch (error) {
    throw asMountError(call, error)
  }
}

function destinationOf(mount: Mount, target: string): string {
  return mount.target === '' ? target : joinConfined(target, mount.target)
}

function asMountError(call: MountCall, error: unknown): unknown {
  return error instanceof SystemError ? new MountError(call, error) : error
}
