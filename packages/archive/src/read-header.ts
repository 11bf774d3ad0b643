import { type PaxRecords, parsePaxRecords } from './pax-records.js'
import { checkSpans, parseSpanList, readSpanFields, readSpanLines } from './sparse-map.js'
import { invalidHeader, TarError } from './tar-error.js'
import { blockSize, type DataSpan, padded, type TarHeader, TarType } from './tar-header.js'
import { readDecimal, readNumber, readString, readTime } from './tar-numbers.js'

// Long names and extended records are kept in memory, so they have a limit.
const maxSpecialSize = 1 << 20
const xattrPrefix = 'SCHILY.xattr.'

/**
 * Reads up to and including the next entry's header, undefined at the end of the archive. Yields how many bytes it wants and is
 * resumed with exactly that many, or with fewer when the input ends.
 *
 * @throws TarError
 */
export function* readHeader(): Generator<number, TarHeader | undefined, Buffer> {
  let records: PaxRecords = new Map()
  let longName: Buffer | undefined
  let longLink: Buffer | undefined
  for (;;) {
    const block = yield blockSize
    if (block.length === 0) return undefined
    if (block.length < blockSize) throw unexpectedEnd()
    if (isZero(block)) {
      const second = yield blockSize
      if (second.length === 0 || isZero(second)) return undefined
      throw invalidHeader('one empty block between entries')
    }
    verifyChecksum(block)
    const header = parseBlock(block)
    switch (header.type) {
      case TarType.Extended:
        records = parsePaxRecords(yield* readSpecial(header))
        continue
      case TarType.Global:
        parsePaxRecords(yield* readSpecial(header))
        return { ...header, size: 0, storedSize: 0 }
      case 'L':
        longName = readString(yield* readSpecial(header))
        continue
      case 'K':
        longLink = readString(yield* readSpecial(header))
        continue
    }
    applyRecords(header, records)
    if (longName !== undefined && longName.length > 0) header.name = longName
    if (longLink !== undefined && longLink.length > 0) header.linkName = longLink
    if (header.type === '\0') header.type = header.name.at(-1) === 0x2f ? TarType.Directory : TarType.Regular
    if (hasNoData(header.type)) header.storedSize = 0
    if (header.storedSize < 0 || header.size < 0) throw invalidHeader('negative size')
    yield* readSparse(header, block, records)
    return header
  }
}

function* readSpecial(header: TarHeader): Generator<number, Buffer, Buffer> {
  const size = header.storedSize
  if (size < 0 || size > maxSpecialSize) throw invalidHeader('extended header is too long')
  const data = yield padded(size)
  if (data.length < padded(size)) throw unexpectedEnd()
  // The caller may reuse the memory.
  return Buffer.from(data.subarray(0, size))
}

function parseBlock(block: Buffer): TarHeader {
  const magic = block.toString('latin1', 257, 265)
  const posix = magic === 'ustar\x0000'
  const gnu = magic === 'ustar  \0'
  const star = posix && block.toString('latin1', 508, 512) === 'tar\0'
  let name = readString(block.subarray(0, 100))
  const header: TarHeader = {
    name,
    linkName: Buffer.from(readString(block.subarray(157, 257))),
    type: String.fromCharCode(block[156] ?? 0),
    mode: readNumber(block.subarray(100, 108)),
    uid: readNumber(block.subarray(108, 116)),
    gid: readNumber(block.subarray(116, 124)),
    size: readNumber(block.subarray(124, 136)),
    modified: { seconds: readNumber(block.subarray(136, 148)), nanos: 0 },
    major: posix || gnu ? readNumber(block.subarray(329, 337)) : 0,
    minor: posix || gnu ? readNumber(block.subarray(337, 345)) : 0,
    xattrs: new Map(),
    storedSize: 0,
  }
  header.storedSize = header.size
  if (posix) {
    const prefix = readString(block.subarray(345, star ? 476 : 500))
    if (prefix.length > 0) name = Buffer.concat([prefix, Buffer.from('/'), name])
  }
  header.name = Buffer.from(name)
  if (star) header.accessed = { seconds: readNumber(block.subarray(476, 488)), nanos: 0 }
  else if (gnu && (block[345] ?? 0) !== 0) header.accessed = { seconds: readNumber(block.subarray(345, 357)), nanos: 0 }
  return header
}

function applyRecords(header: TarHeader, records: PaxRecords): void {
  for (const [key, value] of records) {
    // An empty value takes a record back.
    if (value.length === 0 && !key.startsWith(xattrPrefix)) continue
    switch (key) {
      case 'path':
        header.name = value
        break
      case 'linkpath':
        header.linkName = value
        break
      case 'uid':
        header.uid = readDecimal(value.toString('latin1'))
        break
      case 'gid':
        header.gid = readDecimal(value.toString('latin1'))
        break
      case 'size':
        header.size = readDecimal(value.toString('latin1'))
        header.storedSize = header.size
        break
      case 'mtime':
        header.modified = readTime(value.toString('latin1'))
        break
      case 'atime':
        header.accessed = readTime(value.toString('latin1'))
        break
      default:
        if (key.startsWith(xattrPrefix)) header.xattrs.set(key.slice(xattrPrefix.length), value)
    }
  }
}

function* readSparse(header: TarHeader, block: Buffer, records: PaxRecords): Generator<number, void, Buffer> {
  if (header.type === 'S') {
    const spans = yield* readOldGnuSpans(header, block)
    header.type = TarType.Regular
    setSpans(header, spans)
    return
  }
  const text = (key: string) => records.get(key)?.toString('latin1') ?? ''
  const [major, minor] = [text('GNU.sparse.major'), text('GNU.sparse.minor')]
  const inData = major === '1' && minor === '0'
  const inRecord = major === '0' ? minor === '0' || minor === '1' : major === '' && minor === '' && text('GNU.sparse.map') !== ''
  if (!inData && !inRecord) return
  const name = records.get('GNU.sparse.name')
  if (name !== undefined && name.length > 0) header.name = name
  const size = text('GNU.sparse.size') || text('GNU.sparse.realsize')
  if (size !== '') header.size = readDecimal(size)
  if (inRecord) {
    setSpans(header, parseSpanList(text('GNU.sparse.map')))
    return
  }
  const { spans, consumed } = yield* readSpanLines(padded(header.storedSize))
  header.storedSize -= consumed
  setSpans(header, spans)
}

function* readOldGnuSpans(header: TarHeader, block: Buffer): Generator<number, DataSpan[], Buffer> {
  const spans: DataSpan[] = []
  readSpanFields(block, 386, 4, spans)
  header.size = readNumber(block.subarray(483, 495))
  for (let extended = block[482] !== 0; extended; ) {
    const more = yield blockSize
    if (more.length < blockSize) throw unexpectedEnd()
    readSpanFields(more, 0, 21, spans)
    extended = more[504] !== 0
  }
  return spans
}

function setSpans(header: TarHeader, spans: DataSpan[]): void {
  checkSpans(spans, header.size, header.storedSize)
  header.spans = spans
}

function hasNoData(type: string): boolean {
  return type >= TarType.Link && type <= TarType.Fifo
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0)
}

// Some old programs summed signed bytes.
function verifyChecksum(block: Buffer): void {
  let unsigned = 0
  let signed = 0
  for (let i = 0; i < blockSize; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0)
    unsigned += byte
    signed += byte > 127 ? byte - 256 : byte
  }
  const given = readNumber(block.subarray(148, 156))
  if (given !== unsigned && given !== signed) throw invalidHeader('checksum does not match')
}

export function unexpectedEnd(): TarError {
  return new TarError('unexpected EOF')
}
