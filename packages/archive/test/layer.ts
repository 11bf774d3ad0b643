import { encodeHeader, endOfArchive, padded, type TarEntry, TarType } from '../src/index.js'

/** An entry of a layer; what is not said is ordinary. */
export type Entry = Partial<Omit<TarEntry, 'name' | 'linkName'>> & {
  name: string | Buffer
  link?: string
  data?: string | Buffer
}

const file = {
  type: TarType.Regular,
  mode: 0o644,
  uid: 0,
  gid: 0,
  major: 0,
  minor: 0,
  modified: { seconds: 1_500_000_000, nanos: 0 },
}

/** The archive with these entries. */
export function layer(...entries: Entry[]): Buffer {
  const parts = entries.flatMap(({ link = '', data = '', name, ...more }) => {
    const content = Buffer.from(data)
    const header = encodeHeader({
      ...file,
      size: content.length,
      xattrs: new Map(),
      ...more,
      name: Buffer.from(name),
      linkName: Buffer.from(link),
    })
    return [header, content, Buffer.alloc(padded(content.length) - content.length)]
  })
  return Buffer.concat([...parts, endOfArchive])
}

export const directory = (name: string, more: Partial<Entry> = {}): Entry => ({
  name,
  type: TarType.Directory,
  mode: 0o755,
  ...more,
})
export const symlink = (name: string, link: string): Entry => ({ name, link, type: TarType.Symlink })
export const hardlink = (name: string, link: string): Entry => ({ name, link, type: TarType.Link })

/** The bytes as a stream of small pieces. */
export async function* streamOf(bytes: Buffer, piece = 5000): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += piece) yield bytes.subarray(offset, offset + piece)
}
