/** An entry of an archive that a suite makes. */
export interface TarEntry {
  name: string
  /** `0` file, `1` hard link, `2` symbolic link, `5` directory, `6` FIFO. */
  type?: string
  link?: string
  data?: string
  mode?: number
  uid?: number
  gid?: number
  seconds?: number
  /** Records of an extended header. */
  pax?: Readonly<Record<string, string>>
}

const blockSize = 512

/** An uncompressed archive, written here so that a suite does not rest on what it tests. */
export function tar(...entries: readonly TarEntry[]): Buffer {
  const parts = entries.flatMap(({ pax, ...entry }) => {
    const records = Object.entries(pax ?? {}).map(([key, value]) => paxRecord(key, value))
    const extended = records.length === 0 ? [] : [block({ name: 'pax', type: 'x' }, records.join('')), padded(records.join(''))]
    return [...extended, block(entry, entry.data ?? ''), padded(entry.data ?? '')]
  })
  return Buffer.concat([...parts, Buffer.alloc(2 * blockSize)])
}

function block(entry: TarEntry, data: string): Buffer {
  const { name, type = '0', link = '', mode = 0o644, uid = 0, gid = 0, seconds = 1_600_000_000 } = entry
  const header = Buffer.alloc(blockSize)
  header.write(name, 0, 100)
  const octal = (value: number, offset: number, digits: number) => header.write(value.toString(8).padStart(digits, '0'), offset)
  octal(mode, 100, 7)
  octal(uid, 108, 7)
  octal(gid, 116, 7)
  octal(Buffer.byteLength(data), 124, 11)
  octal(seconds, 136, 11)
  header.write(type, 156)
  header.write(link, 157, 100)
  header.write('ustar\x0000', 257)
  header.fill(' ', 148, 156)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  )
  header[154] = 0
  return header
}

function padded(data: string): Buffer {
  const bytes = Buffer.from(data)
  return Buffer.concat([bytes, Buffer.alloc((blockSize - (bytes.length % blockSize)) % blockSize)])
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = Buffer.byteLength(rest) + 1
  while (`${length}${rest}`.length !== length) length = Buffer.byteLength(`${length}${rest}`)
  return `${length}${rest}`
}

/** The entries of an archive in short: `name`, `name -> target` of a symbolic link, `name = target` of a hard link. */
export function listTar(archive: Buffer): string[] {
  const lines: string[] = []
  for (let at = 0; at + blockSize <= archive.length; ) {
    const header = archive.subarray(at, at + blockSize)
    const text = (start: number, end: number) => header.toString('utf8', start, end).replace(/\0.*$/s, '')
    if (header.every((byte) => byte === 0)) break
    const type = text(156, 157)
    const prefix = text(345, 500)
    const name = prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`
    const sign = type === '1' ? ' = ' : type === '2' ? ' -> ' : ''
    if (type !== 'x') lines.push(`${name}${sign}${text(157, 257)}`)
    at += blockSize + Math.ceil(Number.parseInt(text(124, 136), 8) / blockSize) * blockSize
  }
  return lines
}
