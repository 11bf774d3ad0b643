import { UnimplementedError } from '@containerd-ts/interface'
import { filesystemOf, inUserNamespace, type MountCall, MountFlag, pageSize } from '@containerd-ts/linux'
import { type IdMaps, parseIdMap } from './id-mapped.js'
import type { Mount } from './mount-all.js'
import { parseMountOptions } from './options.js'
import { compactLowerdirs } from './overlay-options.js'

/** What to ask the kernel for one mount. */
export interface MountPlan {
  /** Absent when there is nothing to do before `remount`. */
  first?: MountCall
  /** The working directory that `first` is relative to. */
  directory?: string
  /** Makes a bind read-only, which the first call cannot do. Called when the first one is done, for it looks at its result. */
  remount?: () => MountCall
  /** Owners are translated; then there is no `remount`. */
  maps?: IdMaps
  /** With `maps`: the tree is bound, which takes no other mount first. */
  bound?: boolean
  /** With `bound`: what is mounted below comes along. */
  recursive?: boolean
}

const bindReadOnly = MountFlag.Bind | MountFlag.ReadOnly
// Below a page by what the kernel and the other options need.
const reserve = 512

/** @throws InvalidArgumentError, UnimplementedError for what this package does not do */
export function planMount(mount: Mount, target: string): MountPlan {
  if (/^fuse3?\./.test(mount.type)) throw new UnimplementedError(`mounting type "${mount.type}" by a helper program`)
  let parsed = parseMountOptions(mount.options)
  if (parsed.loop) throw new UnimplementedError(`mount option "loop" of source "${mount.source}"`)

  const plan: MountPlan = {}
  if (mount.type === 'overlay' && sizeOf(mount.options) >= pageSize() - reserve) {
    const compact = compactLowerdirs(mount.options)
    if (compact !== undefined) {
      plan.directory = compact.directory
      parsed = parseMountOptions(compact.options)
    }
  }
  const data = parsed.data.join(',')
  if (data.length > pageSize()) throw new RangeError('mount options is too long')

  const { flags } = parsed
  if ((flags & MountFlag.Remount) === 0 || data !== '') {
    plan.first = { source: mount.source, target, type: mount.type, flags, data }
  }
  const readonlyBind = (flags & bindReadOnly) === bindReadOnly
  // Those of an overlay are its lower directories' affair; containerd leaves them out for what is bound to be read only.
  if (parsed.uidmap && parsed.gidmap && mount.type !== 'overlay' && !readonlyBind) {
    plan.maps = { uids: parseIdMap(parsed.uidmap), gids: parseIdMap(parsed.gidmap) }
    plan.bound = (flags & MountFlag.Bind) !== 0
    plan.recursive = (flags & MountFlag.Recursive) !== 0
  }
  if (readonlyBind) {
    plan.remount = () => ({ target, flags: flags | MountFlag.Remount | lockedFlags(target) })
  }
  return plan
}

function sizeOf(options: readonly string[]): number {
  return options.reduce((size, option) => size + Buffer.byteLength(option), 0)
}

// The flags that a mount has from outside a user namespace cannot be taken from it, so a remount has to repeat them.
function lockedFlags(target: string): number {
  if (!inUserNamespace()) return 0
  const { flags } = filesystemOf(target)
  const ST_RELATIME = 0x1000
  const shared =
    MountFlag.ReadOnly | MountFlag.NoSuid | MountFlag.NoDev | MountFlag.NoExec | MountFlag.NoAtime | MountFlag.NoDirAtime
  return (flags & shared) | (flags & ST_RELATIME ? MountFlag.Relatime : 0)
}
