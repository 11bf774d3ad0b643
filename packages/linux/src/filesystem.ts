import { bindInBackground } from './background.js'
import { cString, type Path, pathText } from './c-string.js'
import { bind, check } from './libc.js'

const statfs = bind('int statfs(const void *path, void *buffer)')
const syncfsPrototype = 'int syncfs(int fd)'
const syncfs = bindInBackground(syncfsPrototype, 'syncfs')
const syncfsNow = bind(syncfsPrototype)

/** Magic numbers of filesystem types. */
export const FilesystemType = {
  Btrfs: 0x9123683e,
  Cgroup2: 0x63677270,
  Ext: 0xef53,
  Overlay: 0x794c7630,
  Tmpfs: 0x01021994,
  Xfs: 0x58465342,
} as const

/** What statfs(2) tells of the filesystem that holds a path. */
export interface Filesystem {
  /** A magic number, see {@link FilesystemType}. */
  type: number
  /** The flags of its mount: ST_RDONLY 1, ST_NOSUID 2, ST_NODEV 4, ST_NOEXEC 8, ST_NOATIME 0x400, ST_NODIRATIME 0x800, ST_RELATIME 0x1000. */
  flags: number
}

/** @throws SystemError */
export function filesystemOf(path: Path): Filesystem {
  // struct statfs of 64-bit Linux.
  const buffer = Buffer.alloc(120)
  check(statfs(cString(path), buffer), 'statfs', pathText(path))
  return { type: Number(buffer.readBigUInt64LE(0) & 0xffff_ffffn), flags: Number(buffer.readBigUInt64LE(80)) }
}

/** Writes everything of the filesystem that holds an open file to disk. @throws SystemError */
export async function syncFilesystem(fd: number): Promise<void> {
  await syncfs([fd])
}

/** {@link syncFilesystem} at once, for a thread that may wait. @throws SystemError */
export function syncFilesystemSync(fd: number): void {
  check(syncfsNow(fd), 'syncfs')
}
