import { formatPaxRecord } from './pax-records.js'
import { TarError } from './tar-error.js'
import { blockSize, padded, type TarHeader, TarType } from './tar-header.js'

/** What {@link encodeHeader} takes: of the times only the seconds of `modified` are written. */
export type TarEntry = Omit<TarHeader, 'storedSize' | 'spans' | 'accessed'>

const nameSize = 100
const prefixSize = 155
const SLASH = 0x2f

/** The two empty blocks at the end of an archive. */
export const endOfArchive = Buffer.alloc(2 * blockSize)

/**
 * The blocks before an entry's data. Plain ustar where everything fits, otherwise preceded by an extended header that holds what does
 * not. The same entry always gives the same bytes, and the bytes are those of Go's archive/tar asked for the PAX format.
 *
 * @throws TarError when a device number cannot be written at all.
 */
export function encodeHeader(entry: TarEntry): Buffer {
  const records = new Map<string, Uint8Array>()
  const split = splitName(entry.name)
  if (split === undefined && !fitsName(entry.name)) records.set('path', entry.name)
  if (!fitsName(entry.linkName)) records.set('linkpath', entry.linkName)
  for (const key of ['uid', 'gid'] as const) if (!fitsOctal(entry[key], 8)) records.set(key, Buffer.from(String(entry[key])))
  if (!fitsOctal(entry.size, 12)) records.set('size', Buffer.from(String(entry.size)))
  if (!fitsOctal(entry.modified.seconds, 12)) records.set('mtime', Buffer.from(String(entry.modified.seconds)))
  for (const [name, value] of entry.xattrs) records.set(`SCHILY.xattr.${name}`, value)
  if (!fitsOctal(entry.major, 8) || !fitsOctal(entry.minor, 8)) throw new TarError('device number is too large for an archive')

  if (records.size === 0) return encodeBlock(entry, split?.prefix, split?.name ?? entry.name)
  // With an extended header the whole name goes there, even where it could be split.
  if (split !== undefined) records.set('path', entry.name)
  const data = Buffer.concat([...records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => formatPaxRecord(key, value)))
  const extended: TarEntry = {
    name: extendedName(entry.name),
    linkName: Buffer.alloc(0),
    type: TarType.Extended,
    mode: 0,
    uid: 0,
    gid: 0,
    size: data.length,
    modified: { seconds: 0, nanos: 0 },
    major: 0,
    minor: 0,
    xattrs: new Map(),
  }
  const filler = Buffer.alloc(padded(data.length) - data.length)
  return Buffer.concat([
    encodeBlock(extended, undefined, extended.name, false),
    data,
    filler,
    encodeBlock(entry, undefined, entry.name),
  ])
}

function encodeBlock(entry: TarEntry, prefix: Buffer | undefined, name: Buffer, devices = true): Buffer {
  const block = Buffer.alloc(blockSize)
  writeName(block, 0, name)
  writeOctal(block, 100, 8, entry.mode)
  writeOctal(block, 108, 8, entry.uid)
  writeOctal(block, 116, 8, entry.gid)
  writeOctal(block, 124, 12, entry.size)
  writeOctal(block, 136, 12, entry.modified.seconds)
  block.write(entry.type, 156, 'latin1')
  writeName(block, 157, entry.linkName)
  block.write('ustar\x0000', 257, 'latin1')
  if (devices) {
    writeOctal(block, 329, 8, entry.major)
    writeOctal(block, 337, 8, entry.minor)
  }
  if (prefix !== undefined) prefix.copy(block, 345)
  block.fill(0x20, 148, 156)
  let sum = 0
  for (const byte of block) sum += byte
  writeOctal(block, 148, 7, sum)
  return block
}

/** What does not fit into octal digits is in an extended record, and zero here. */
function writeOctal(block: Buffer, offset: number, length: number, value: number): void {
  const digits = (fitsOctal(value, length) ? value : 0).toString(8).padStart(length - 1, '0')
  block.write(`${digits}\0`, offset, 'latin1')
}

function fitsOctal(value: number, length: number): boolean {
  return value >= 0 && value < 8 ** (length - 1)
}

function writeName(block: Buffer, offset: number, name: Buffer): void {
  const plain = asciiOnly(name)
  plain.copy(block, offset, 0, nameSize)
  // Readers that know no extended header would take a file whose cut name ends in a slash for a directory.
  if (plain.length > nameSize && plain[nameSize - 1] === SLASH) {
    let end = nameSize - 1
    while (end > 0 && plain[end - 1] === SLASH) end--
    block[offset + end] = 0
  }
}

function fitsName(name: Buffer): boolean {
  return name.length <= nameSize && isAscii(name)
}

/** The two parts of a long name at a slash, when both fit into their fields. */
function splitName(name: Buffer): { prefix: Buffer; name: Buffer } | undefined {
  if (name.length <= nameSize || !isAscii(name)) return undefined
  let length = name.length
  if (length > prefixSize + 1) length = prefixSize + 1
  else if (name[length - 1] === SLASH) length--
  const slash = name.subarray(0, length).lastIndexOf(SLASH)
  const rest = name.length - slash - 1
  if (slash <= 0 || rest === 0 || rest > nameSize || slash > prefixSize) return undefined
  return { prefix: name.subarray(0, slash), name: name.subarray(slash + 1) }
}

/** `dir/PaxHeaders.0/file` for `dir/file`. */
function extendedName(name: Buffer): Buffer {
  const text = name.toString('latin1')
  const slash = text.lastIndexOf('/')
  const parts = [...text.slice(0, slash + 1).split('/'), 'PaxHeaders.0', text.slice(slash + 1)]
  const joined = parts.filter((part) => part !== '').join('/')
  const plain = asciiOnly(Buffer.from(text.startsWith('/') ? `/${joined}` : joined, 'latin1')).subarray(0, nameSize)
  let end = plain.length
  while (end > 0 && plain[end - 1] === SLASH) end--
  return plain.subarray(0, end)
}

function isAscii(name: Buffer): boolean {
  return name.every((byte) => byte > 0 && byte < 0x80)
}

function asciiOnly(name: Buffer): Buffer {
  return isAscii(name) ? name : Buffer.from(name.filter((byte) => byte > 0 && byte < 0x80))
}
