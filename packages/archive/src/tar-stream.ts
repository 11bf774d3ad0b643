import { readHeader, unexpectedEnd } from './read-header.js'
import { padded, type TarHeader } from './tar-header.js'

/** An entry of an archive that is read as it arrives. */
export interface StreamedEntry {
  header: TarHeader
  /** The stored data; what is not consumed before the next entry is asked for is skipped. */
  data: AsyncIterable<Uint8Array>
}

/** Reads an uncompressed archive from a stream, without keeping more than a header and a chunk. @throws TarError */
export async function* tarEntries(source: AsyncIterable<Uint8Array>): AsyncGenerator<StreamedEntry> {
  const iterator = source[Symbol.asyncIterator]()
  let chunk: Uint8Array = new Uint8Array(0)

  async function read(max: number): Promise<Uint8Array> {
    while (chunk.length === 0) {
      const step = await iterator.next()
      if (step.done) return chunk
      chunk = step.value
    }
    const bytes = chunk.subarray(0, max)
    chunk = chunk.subarray(bytes.length)
    return bytes
  }

  async function exactly(length: number): Promise<Buffer> {
    const parts: Uint8Array[] = []
    for (let missing = length; missing > 0; ) {
      const part = await read(missing)
      if (part.length === 0) break
      parts.push(part)
      missing -= part.length
    }
    return Buffer.concat(parts)
  }

  try {
    for (;;) {
      const reading = readHeader()
      let step = reading.next()
      while (!step.done) step = reading.next(await exactly(step.value))
      const header = step.value
      if (header === undefined) return
      let remaining = header.storedSize
      const readData = async (max: number) => {
        const bytes = await read(Math.min(max, remaining))
        if (bytes.length === 0) throw unexpectedEnd()
        remaining -= bytes.length
        return bytes
      }
      yield {
        header,
        data: (async function* () {
          while (remaining > 0) yield await readData(remaining)
        })(),
      }
      while (remaining > 0) await readData(remaining)
      const padding = padded(header.storedSize) - header.storedSize
      if ((await exactly(padding)).length < padding) throw unexpectedEnd()
    }
  } finally {
    await iterator.return?.()
  }
}
