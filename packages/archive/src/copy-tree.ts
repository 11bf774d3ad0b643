import { type BigIntStats, constants, copyFileSync, lstatSync, readlinkSync } from 'node:fs'
import { decodeDevice, FileType, getXattr, isErrno, listXattrs, makeNode, setTimes, setXattr } from '@containerd-ts/linux'
import { childOf } from './entry-path.js'
import {
  bytePath,
  byteString,
  changeMode,
  changeOwner,
  fileTimeOf,
  linkFile,
  makeDirectory,
  makeSymlink,
  namesIn,
} from './tree-operations.js'

/**
 * Copies what is in the directory `source` to the existing directory `target`, and its attributes: owners, modes, times, extended
 * attributes, hard links, devices. Sockets are left out. Blocks are shared where the filesystem can. `checkpoint` throws to stop.
 */
export function copyTree(source: string, target: string, checkpoint: () => void): void {
  // The copy of each file that has several names.
  const copies = new Map<string, string>()

  function copyDirectory(from: string, to: string, stat: BigIntStats): void {
    for (const name of namesIn(from)) {
      checkpoint()
      copyEntry(childOf(from, name), childOf(to, name))
    }
    // Last, since every entry has changed its times.
    copyAttributes(from, to, stat)
  }

  function copyEntry(from: string, to: string): void {
    const stat = lstatSync(bytePath(from), { bigint: true })
    if (stat.isDirectory()) {
      makeDirectory(to, 0o700)
      copyDirectory(from, to, stat)
      return
    }
    if (stat.isSocket()) return
    const inode = `${stat.dev}:${stat.ino}`
    const copied = copies.get(inode)
    if (copied !== undefined) {
      linkFile(copied, to)
      return
    }
    makeCopy(from, to, stat)
    copyAttributes(from, to, stat)
    if (stat.nlink > 1n) copies.set(inode, to)
  }

  copyDirectory(byteString(source), byteString(target), lstatSync(source, { bigint: true }))
}

function makeCopy(from: string, to: string, stat: BigIntStats): void {
  if (stat.isFile()) copyFileSync(bytePath(from), bytePath(to), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  else if (stat.isSymbolicLink()) makeSymlink(readlinkSync(bytePath(from), 'buffer'), to)
  else if (stat.isFIFO()) makeNode(bytePath(to), FileType.Fifo | 0o600)
  else makeNode(bytePath(to), (stat.isBlockDevice() ? FileType.Block : FileType.Character) | 0o600, decodeDevice(stat.rdev))
}

function copyAttributes(from: string, to: string, stat: BigIntStats): void {
  changeOwner(to, Number(stat.uid), Number(stat.gid))
  copyXattrs(from, to)
  // After the owner: changing that takes the set-id bits away.
  if (!stat.isSymbolicLink()) changeMode(to, Number(stat.mode) & 0o7777)
  setTimes(bytePath(to), fileTimeOf(stat.atimeNs), fileTimeOf(stat.mtimeNs))
}

function copyXattrs(from: string, to: string): void {
  for (const name of namesOfXattrs(from)) {
    const value = getXattr(bytePath(from), name)
    if (value === undefined) continue
    try {
      setXattr(bytePath(to), name, value)
    } catch (error) {
      // Security modules may refuse their own attributes; the tree is as good without them.
      if (!name.startsWith('security.') && !isErrno(error, 'ENOTSUP')) throw error
    }
  }
}

function namesOfXattrs(path: string): string[] {
  try {
    return listXattrs(bytePath(path))
  } catch (error) {
    if (isErrno(error, 'ENOTSUP')) return []
    throw error
  }
}
