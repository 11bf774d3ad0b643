import { InvalidArgumentError } from '@containerd-ts/interface'
import { MountFlag as Flag } from '@containerd-ts/linux'

/** What fstab words mean to mount(2). */
export interface ParsedOptions {
  /** Flags of mount(2). */
  flags: number
  /** What the filesystem itself is told. */
  data: string[]
  /** The source is a file to be attached to a loop device. */
  loop: boolean
  uidmap?: string
  gidmap?: string
}

const set: Readonly<Record<string, number>> = {
  bind: Flag.Bind,
  rbind: Flag.Bind | Flag.Recursive,
  ro: Flag.ReadOnly,
  nosuid: Flag.NoSuid,
  nodev: Flag.NoDev,
  noexec: Flag.NoExec,
  noatime: Flag.NoAtime,
  nodiratime: Flag.NoDirAtime,
  relatime: Flag.Relatime,
  strictatime: Flag.StrictAtime,
  sync: Flag.Synchronous,
  dirsync: Flag.DirSync,
  mand: Flag.MandatoryLock,
  remount: Flag.Remount,
}

const clear: Readonly<Record<string, number>> = {
  rw: Flag.ReadOnly,
  suid: Flag.NoSuid,
  dev: Flag.NoDev,
  exec: Flag.NoExec,
  atime: Flag.NoAtime,
  diratime: Flag.NoDirAtime,
  norelatime: Flag.Relatime,
  nostrictatime: Flag.StrictAtime,
  async: Flag.Synchronous,
  nomand: Flag.MandatoryLock,
}

/**
 * Reads options in order, a later word winning over an earlier one. Words that are no flags are left to the filesystem.
 *
 * @throws InvalidArgumentError for an `X-containerd.` option, which only a mount manager understands.
 */
export function parseMountOptions(options: readonly string[]): ParsedOptions {
  const parsed: ParsedOptions = { flags: 0, data: [], loop: false }
  for (const option of options) {
    if (option.startsWith('X-containerd.'))
      throw new InvalidArgumentError(`internal mount option "${option}" was not consumed by the mount manager`)
    if (Object.hasOwn(set, option)) parsed.flags |= set[option] ?? 0
    else if (Object.hasOwn(clear, option)) parsed.flags &= ~(clear[option] ?? 0)
    else if (option === 'loop') parsed.loop = true
    else if (option.startsWith('uidmap=')) parsed.uidmap = option.slice('uidmap='.length)
    else if (option.startsWith('gidmap=')) parsed.gidmap = option.slice('gidmap='.length)
    else parsed.data.push(option)
  }
  return parsed
}
