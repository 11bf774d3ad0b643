import { invalidHeader } from './tar-error.js'

/** Records of a PAX extended header; a later one of the same key wins. */
export type PaxRecords = Map<string, Buffer>

const SPACE = 0x20
const EQUALS = 0x3d
const NEWLINE = 0x0a
// In format 0.0 of GNU's sparse files these come in pairs, one for each stretch of data.
const spanKeys = ['GNU.sparse.offset', 'GNU.sparse.numbytes']

/** Reads `<length> <key>=<value>\n` records. Values are bytes. @throws TarError */
export function parsePaxRecords(data: Buffer): PaxRecords {
  const records: PaxRecords = new Map()
  const spans: string[] = []
  for (let offset = 0; offset < data.length; ) {
    const space = data.indexOf(SPACE, offset)
    const digits = space < 0 ? '' : data.toString('latin1', offset, space)
    const length = /^\d{1,9}$/.test(digits) ? Number(digits) : 0
    const end = offset + length
    const equals = data.indexOf(EQUALS, space)
    if (length === 0 || end > data.length || data[end - 1] !== NEWLINE || equals <= space + 1 || equals >= end)
      throw invalidHeader('malformed extended record')
    const key = data.toString('utf8', space + 1, equals)
    const value = data.subarray(equals + 1, end - 1)
    if (key.includes('\0') || (isName(key) && value.includes(0))) throw invalidHeader('NUL in an extended record')
    if (spanKeys.includes(key)) {
      if (key !== spanKeys[spans.length % 2]) throw invalidHeader('malformed sparse map')
      spans.push(value.toString('latin1'))
    } else records.set(key, value)
    offset = end
  }
  if (spans.length > 0) records.set('GNU.sparse.map', Buffer.from(spans.join(',')))
  return records
}

function isName(key: string): boolean {
  return key === 'path' || key === 'linkpath' || key === 'uname' || key === 'gname'
}

/** Writes one record; the length counts itself. */
export function formatPaxRecord(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.byteLength(key) + value.length + 3
  let length = rest + String(rest).length
  if (String(length).length !== String(rest).length) length = rest + String(length).length
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')])
}
