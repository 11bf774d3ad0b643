import { readHeader, unexpectedEnd } from './read-header.js'
import { padded, type TarHeader } from './tar-header.js'

/** Bytes that come one after the other, for a thread that may wait for them. */
export interface ByteSource {
  /** Up to `max` bytes, at least one, none at the end. What is given back holds until the next call. */
  read(max: number): Buffer
}

/** Reads an archive entry by entry, without keeping more than a header. */
export interface TarReader {
  /** The next entry, undefined at the end of the archive. What is left of the former entry's data is skipped. @throws TarError */
  next(): TarHeader | undefined
  /** Up to `max` bytes of the entry's stored data, none at its end. What is given back holds until the next call. @throws TarError */
  read(max: number): Buffer
}

/** Reads a tar stream entry by entry. */
export function createTarReader(source: ByteSource): TarReader {
  let remaining = 0
  let padding = 0
  let joined = Buffer.alloc(4096)

  /** `length` bytes in one piece; fewer only at the end. */
  function exactly(length: number): Buffer {
    const first = source.read(length)
    if (first.length === length || first.length === 0) return first
    if (joined.length < length) joined = Buffer.alloc(length)
    let filled = first.copy(joined)
    while (filled < length) {
      const more = source.read(length - filled)
      if (more.length === 0) break
      filled += more.copy(joined, filled)
    }
    return joined.subarray(0, filled)
  }

  function skip(length: number): void {
    while (length > 0) {
      const { length: skipped } = source.read(length)
      if (skipped === 0) throw unexpectedEnd()
      length -= skipped
    }
  }

  return {
    next() {
      skip(remaining + padding)
      remaining = 0
      padding = 0
      const reading = readHeader()
      let step = reading.next()
      while (!step.done) step = reading.next(exactly(step.value))
      const header = step.value
      if (header !== undefined) {
        remaining = header.storedSize
        padding = padded(remaining) - remaining
      }
      return header
    },
    read(max) {
      const bytes = source.read(Math.min(max, remaining))
      if (bytes.length === 0 && remaining > 0 && max > 0) throw unexpectedEnd()
      remaining -= bytes.length
      return bytes
    },
  }
}
