import { type BigIntStats, closeSync, constants, openSync, readlinkSync, readSync, statSync } from 'node:fs'
import { decodeDevice } from '@containerd-ts/linux'
import { type ChangeKind, isLinked, join, xattr } from './compare-trees.js'
import { baseOf, childOf, parentOf } from './entry-path.js'
import { TarError } from './tar-error.js'
import { padded, TarType } from './tar-header.js'
import { encodeHeader, endOfArchive, type TarEntry } from './tar-writer.js'
import { bytePath } from './tree-operations.js'

/** Takes the bytes of an archive. */
export interface ByteSink {
  /** Copies the bytes. */
  write(bytes: Uint8Array): void
  /** Lets `fill` put up to `max` bytes into memory of the sink; it gives back how many, 0 to end. */
  fill(max: number, fill: (target: Buffer) => number): number
}

export interface ChangeWriterOptions {
  /** Directory of the upper tree. */
  root: string
  /** Seconds since 1970 that no modification time exceeds. */
  latestSeconds?: number
}

/** Writes changes of a tree as a layer. */
export interface ChangeWriter {
  write(kind: ChangeKind, path: string, stat: BigIntStats | undefined): void
  /** Ends the archive. */
  end(): void
}

const capability = 'security.capability'
const typeOf = new Map<number, string>([
  [constants.S_IFREG, TarType.Regular],
  [constants.S_IFDIR, TarType.Directory],
  [constants.S_IFLNK, TarType.Symlink],
  [constants.S_IFCHR, TarType.Character],
  [constants.S_IFBLK, TarType.Block],
  [constants.S_IFIFO, TarType.Fifo],
])

export function createChangeWriter(sink: ByteSink, { root, latestSeconds }: ChangeWriterOptions): ChangeWriter {
  // The first written name of each file that has several, and unchanged names that are only written if another one is.
  const firstNames = new Map<bigint, string>()
  const unchangedNames = new Map<bigint, string[]>()
  const writtenDirectories = new Set<string>()
  const padding = Buffer.alloc(512)

  function entryOf(path: string, stat: BigIntStats): TarEntry | undefined {
    const type = typeOf.get(Number(stat.mode) & constants.S_IFMT)
    if (type === undefined) return undefined
    const seconds = Number((stat.mtimeNs - (((stat.mtimeNs % second) + second) % second)) / second)
    const source = bytePath(join(root, path))
    const device = type === TarType.Character || type === TarType.Block ? decodeDevice(stat.rdev) : { major: 0, minor: 0 }
    const value = xattr(join(root, path), capability)
    return {
      name: nameOf(type === TarType.Directory ? `${path}/` : path),
      linkName: type === TarType.Symlink ? readlinkSync(source, 'buffer') : Buffer.alloc(0),
      type,
      mode: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      size: type === TarType.Regular ? Number(stat.size) : 0,
      modified: { seconds: latestSeconds === undefined ? seconds : Math.min(seconds, latestSeconds), nanos: 0 },
      ...device,
      xattrs: new Map(value === undefined || value.length === 0 ? [] : [[capability, value]]),
    }
  }

  /** The directories above, each once and as they are in the upper tree. */
  function writeParents(path: string): void {
    const parent = parentOf(path)
    if (parent === '/' || writtenDirectories.has(parent)) return
    writtenDirectories.add(parent)
    writePresent('modify', parent, statSync(bytePath(join(root, parent)), { bigint: true }))
  }

  function writeEntry(path: string, entry: TarEntry): void {
    writeParents(path)
    if (entry.type === TarType.Directory) writtenDirectories.add(path)
    sink.write(encodeHeader(entry))
  }

  function writePresent(kind: ChangeKind, path: string, stat: BigIntStats): void {
    let alsoNamed: string[] = []
    const linked = isLinked(stat)
    const first = linked ? firstNames.get(stat.ino) : undefined
    if (first === undefined && kind === 'unmodified') {
      if (linked) unchangedNames.set(stat.ino, [...(unchangedNames.get(stat.ino) ?? []), path])
      return
    }
    const entry = entryOf(path, stat)
    // Sockets mean nothing without their process.
    if (entry === undefined) return
    if (first !== undefined) {
      writeEntry(path, linkTo(first, entry))
      return
    }
    if (linked) {
      firstNames.set(stat.ino, path)
      alsoNamed = unchangedNames.get(stat.ino) ?? []
      unchangedNames.delete(stat.ino)
    }
    writeEntry(path, entry)
    if (entry.type === TarType.Regular && entry.size > 0) writeContent(path, entry.size)
    for (const name of alsoNamed) writeEntry(name, { ...linkTo(path, entry), name: nameOf(name) })
  }

  function writeContent(path: string, size: number): void {
    const fd = openSync(bytePath(join(root, path)), constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      for (let remaining = size; remaining > 0; ) {
        const count = sink.fill(remaining, (target) => readSync(fd, target, 0, target.length, null))
        if (count === 0) throw new TarError(`file ${path} became shorter while it was read`)
        remaining -= count
      }
    } finally {
      closeSync(fd)
    }
    sink.write(padding.subarray(0, padded(size) - size))
  }

  return {
    write(kind, path, stat) {
      if (stat !== undefined) writePresent(kind, path, stat)
      else writeEntry(path, whiteout(path))
    },
    end: () => sink.write(endOfArchive),
  }
}

const second = 1_000_000_000n

function nameOf(path: string): Buffer {
  return Buffer.from(path.slice(1), 'latin1')
}

function linkTo(path: string, entry: TarEntry): TarEntry {
  return { ...entry, type: TarType.Link, linkName: nameOf(path), size: 0 }
}

/** Always the same, so that the same removal always gives the same bytes. */
function whiteout(path: string): TarEntry {
  return {
    name: nameOf(childOf(parentOf(path), `.wh.${baseOf(path)}`)),
    linkName: Buffer.alloc(0),
    type: TarType.Regular,
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    modified: { seconds: 0, nanos: 0 },
    major: 0,
    minor: 0,
    xattrs: new Map(),
  }
}
