import { constants, type Stats } from 'node:fs'
import { chmod, copyFile, lchown, link, lstat, mkdir, opendir, readlink, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeDevice, FileType, getXattr, isErrno, listXattrs, makeNode, setTimes, setXattr } from '@containerd-ts/linux'

const filesAtOnce = 16

/** Copies the contents of a directory into another one: owners, modes, times, extended attributes, hard links, devices. */
export async function copyTree(source: string, target: string, signal?: AbortSignal): Promise<void> {
  // First copies of files with several names, by inode.
  const linked = new Map<string, Promise<string>>()
  // Directory times change with every entry: they are set from the inside out at the end.
  const directories: { from: string; to: string; stat: Stats }[] = []

  async function copyFileOnce(from: string, to: string, stat: Stats): Promise<void> {
    const inode = `${stat.dev}:${stat.ino}`
    const first = stat.nlink > 1 ? linked.get(inode) : undefined
    if (first !== undefined) return link(await first, to)
    const copied = copyNode(from, to, stat).then(() => to)
    if (stat.nlink > 1) linked.set(inode, copied)
    await copied
  }

  const pending = [{ from: source, to: target }]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { from, to } = next
    directories.push({ from, to, stat: await lstat(from) })
    let files: Promise<void>[] = []
    try {
      for await (const { name } of await opendir(from, { bufferSize: 256 })) {
        signal?.throwIfAborted()
        const [childFrom, childTo] = [join(from, name), join(to, name)]
        const stat = await lstat(childFrom)
        if (stat.isDirectory()) {
          await mkdir(childTo)
          pending.push({ from: childFrom, to: childTo })
        } else if (!stat.isSocket()) {
          files.push(copyFileOnce(childFrom, childTo, stat))
        }
        if (files.length >= filesAtOnce) {
          await Promise.all(files)
          files = []
        }
      }
    } finally {
      await Promise.allSettled(files)
    }
    await Promise.all(files)
  }
  for (const { from, to, stat } of directories.reverse()) await copyAttributes(from, to, stat)
}

async function copyNode(from: string, to: string, stat: Stats): Promise<void> {
  if (stat.isFile()) await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  else if (stat.isSymbolicLink()) await symlink(await readlink(from, 'buffer'), to)
  else if (stat.isFIFO()) makeNode(to, FileType.Fifo | 0o600)
  else makeNode(to, (stat.isBlockDevice() ? FileType.Block : FileType.Character) | 0o600, decodeDevice(stat.rdev))
  await copyAttributes(from, to, stat)
}

async function copyAttributes(from: string, to: string, stat: Stats): Promise<void> {
  await lchown(to, stat.uid, stat.gid)
  copyXattrs(from, to)
  // After the owner: changing that clears the set-id bits.
  if (!stat.isSymbolicLink()) await chmod(to, stat.mode & 0o7777)
  const { atimeNs, mtimeNs } = await lstat(from, { bigint: true })
  setTimes(to, fileTime(atimeNs), fileTime(mtimeNs))
}

function fileTime(ns: bigint) {
  const nanos = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return { seconds: Number((ns - nanos) / 1_000_000_000n), nanos: Number(nanos) }
}

function copyXattrs(from: string, to: string): void {
  let names: string[]
  try {
    names = listXattrs(from)
  } catch (error) {
    if (isErrno(error, 'ENOTSUP')) return
    throw error
  }
  for (const name of names) {
    const value = getXattr(from, name)
    if (value === undefined) continue
    try {
      setXattr(to, name, value)
    } catch (error) {
      // Security modules may refuse their own attributes; the tree is as good without them.
      if (!name.startsWith('security.') && !isErrno(error, 'ENOTSUP')) throw error
    }
  }
}
