import { chmod, open } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { ioctl } from '@containerd-ts/linux'

// <linux/btrfs.h>: every argument is a page.
const BTRFS_IOC_SUBVOL_CREATE = 0x5000940e
const BTRFS_IOC_SNAP_DESTROY = 0x5000940f
const BTRFS_IOC_INO_LOOKUP = 0xd0009412
const BTRFS_IOC_SNAP_CREATE_V2 = 0x50009417
const argumentSize = 4096
const nameOffset = 8
const flagsOffsetV2 = 16
const nameOffsetV2 = 56
const readOnlyFlag = 2n
// The inode of every subvolume's root directory.
const rootInode = 256n

/** Makes an empty subvolume with exactly that mode. @throws SystemError EEXIST */
export async function createSubvolume(path: string, mode: number): Promise<void> {
  const argument = Buffer.alloc(argumentSize)
  argument.write(basename(path), nameOffset)
  await inDirectory(dirname(path), (fd) => ioctl(fd, BTRFS_IOC_SUBVOL_CREATE, argument))
  await chmod(path, mode)
}

/** Makes a snapshot of the subvolume `source`. What was written there by then is in it. @throws SystemError EEXIST */
export async function snapshotSubvolume(source: string, path: string, access: 'read-only' | 'writable'): Promise<void> {
  await inDirectory(source, (sourceFd) =>
    inDirectory(dirname(path), (fd) => {
      const argument = Buffer.alloc(argumentSize)
      argument.writeBigInt64LE(BigInt(sourceFd), 0)
      argument.writeBigUInt64LE(access === 'read-only' ? readOnlyFlag : 0n, flagsOffsetV2)
      argument.write(basename(path), nameOffsetV2)
      return ioctl(fd, BTRFS_IOC_SNAP_CREATE_V2, argument)
    }),
  )
}

/** Deletes a subvolume with all that is in it; its space is given back later. @throws SystemError ENOENT, ENOTEMPTY with subvolumes below it */
export async function deleteSubvolume(path: string): Promise<void> {
  const argument = Buffer.alloc(argumentSize)
  argument.write(basename(path), nameOffset)
  await inDirectory(dirname(path), (fd) => ioctl(fd, BTRFS_IOC_SNAP_DESTROY, argument))
}

/** The number that a subvolume is mounted by. @throws SystemError */
export async function subvolumeId(path: string): Promise<bigint> {
  const argument = Buffer.alloc(argumentSize)
  argument.writeBigUInt64LE(rootInode, 8)
  await inDirectory(path, (fd) => ioctl(fd, BTRFS_IOC_INO_LOOKUP, argument))
  return argument.readBigUInt64LE(0)
}

async function inDirectory<T>(path: string, use: (fd: number) => Promise<T>): Promise<T> {
  const directory = await open(path)
  try {
    return await use(directory.fd)
  } finally {
    await directory.close()
  }
}
