import { bindInBackground } from './background.js'
import { cString, type Path, pathText } from './c-string.js'
import { bind, check } from './libc.js'

/** Flags of mount(2). */
export const MountFlag = {
  ReadOnly: 0x1,
  NoSuid: 0x2,
  NoDev: 0x4,
  NoExec: 0x8,
  Synchronous: 0x10,
  Remount: 0x20,
  MandatoryLock: 0x40,
  DirSync: 0x80,
  NoAtime: 0x400,
  NoDirAtime: 0x800,
  Bind: 0x1000,
  Move: 0x2000,
  Recursive: 0x4000,
  Silent: 0x8000,
  Unbindable: 0x20000,
  Private: 0x40000,
  Slave: 0x80000,
  Shared: 0x100000,
  Relatime: 0x200000,
  StrictAtime: 0x1000000,
} as const

/** Flags of umount2(2). */
export const UnmountFlag = { Force: 1, Detach: 2, Expire: 4, NoFollow: 8 } as const

/** The arguments of mount(2). */
export interface MountCall {
  source?: string
  target: Path
  type?: string
  /** See {@link MountFlag}. */
  flags?: number
  /** Options of the filesystem, joined with commas. */
  data?: string
}

const mountPrototype =
  'int mount(const void *source, const void *target, const void *type, unsigned long flags, const void *data)'
const mountNow = bind(mountPrototype)
const mountInBackground = bindInBackground(mountPrototype, 'mount')
const unmountNow = bind('int umount2(const void *target, int flags)')
const unmountInBackground = bindInBackground('int umount2(const void *target, int flags)', 'umount2')

/** mount(2) in the calling thread's mount namespace, relative to its own working directory. @throws SystemError */
export function mountSync(call: MountCall): void {
  check(mountNow(...mountArguments(call)), 'mount', pathText(call.target))
}

/** mount(2) off the event loop. Paths must be absolute. @throws SystemError */
export async function mount(call: MountCall): Promise<void> {
  await mountInBackground(mountArguments(call), pathText(call.target))
}

function mountArguments({ source, target, type, flags = 0, data }: MountCall): unknown[] {
  return [optional(source), cString(target), optional(type), flags, optional(data)]
}

function optional(text: string | undefined): Buffer | null {
  return text === undefined || text === '' ? null : cString(text)
}

/** umount2(2) in the calling thread's mount namespace. @throws SystemError */
export function unmountSync(target: Path, flags = 0): void {
  check(unmountNow(cString(target), flags), 'umount2', pathText(target))
}

/** umount2(2) off the event loop: it writes back what is dirty, which takes as long as the disk needs. @throws SystemError */
export async function unmount(target: Path, flags = 0): Promise<void> {
  await unmountInBackground([cString(target), flags], pathText(target))
}
