import type { FileTime } from '@containerd-ts/linux'

export const blockSize = 512

/** Type flags of tar entries. */
export const TarType = {
  Regular: '0',
  Link: '1',
  Symlink: '2',
  Character: '3',
  Block: '4',
  Directory: '5',
  Fifo: '6',
  /** Extended records for the next entry; consumed by the reader. */
  Extended: 'x',
  /** Extended records for all following entries; handed out, as nobody agrees on what to do with them. */
  Global: 'g',
} as const

/** A stretch of data in a sparse file. */
export interface DataSpan {
  offset: number
  length: number
}

/** One entry of an archive, whatever dialect it was written in. Names are bytes: a tar does not say in which encoding. */
export interface TarHeader {
  name: Buffer
  /** Target of a symbolic link, or the name of the entry that a hard link is another name of. */
  linkName: Buffer
  /** See {@link TarType}; others are possible. */
  type: string
  /** Permissions with set-id and sticky bits. */
  mode: number
  uid: number
  gid: number
  /** Bytes of the file, holes included. */
  size: number
  modified: FileTime
  /** Absent when the archive does not say. */
  accessed?: FileTime
  /** Number of a device. */
  major: number
  minor: number
  /** Extended attributes by their full names. */
  xattrs: Map<string, Buffer>
  /** Where the data of a sparse file lies; absent when it has no holes. */
  spans?: DataSpan[]
  /** Bytes of data in the archive, without padding. */
  storedSize: number
}

/** Rounds up to whole blocks. */
export function padded(size: number): number {
  return Math.ceil(size / blockSize) * blockSize
}
