import { TarError } from './tar-error.js'

// What the reference decoder allows by default too.
const maxWindow = 128 * 1024 * 1024

/**
 * Looks at a zstd stream on its way and refuses frames that would need a larger window than is reasonable: a few bytes could otherwise
 * demand gigabytes. Only the structure is followed; whether the content is sound is for the decompressor to say.
 *
 * @throws TarError
 */
export function createWindowGuard(): (bytes: Uint8Array) => void {
  const structure = frames()
  let header = new Uint8Array(0)
  let wanted = structure.next().value ?? 0
  let skip = 0

  return (bytes) => {
    for (let offset = 0; offset < bytes.length; ) {
      if (skip > 0) {
        const skipped = Math.min(skip, bytes.length - offset)
        skip -= skipped
        offset += skipped
        continue
      }
      const part = bytes.subarray(offset, offset + wanted - header.length)
      offset += part.length
      header = Uint8Array.from([...header, ...part])
      if (header.length < wanted) return
      const step = structure.next(header)
      header = new Uint8Array(0)
      // A negative wish is for bytes to pass by.
      wanted = step.value ?? 0
      while (wanted < 0) {
        skip -= wanted
        wanted = structure.next(header).value ?? 0
      }
    }
  }
}

function* frames(): Generator<number, never, Uint8Array> {
  for (;;) {
    const magic = littleEndian(yield 4)
    if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) {
      const size = littleEndian(yield 4)
      if (size > 0) yield -size
      continue
    }
    if (magic !== 0xfd2fb528) throw new TarError('invalid zstd data')
    const hasChecksum = yield* frameHeader()
    for (let last = false; !last; ) {
      const block = littleEndian(yield 3)
      last = (block & 1) === 1
      const type = (block >> 1) & 3
      // A repeated byte is stored once.
      const stored = type === 1 ? 1 : block >> 3
      if (stored > 0) yield -stored
    }
    if (hasChecksum) yield -4
  }
}

function* frameHeader(): Generator<number, boolean, Uint8Array> {
  const descriptor = littleEndian(yield 1)
  const single = (descriptor & 0x20) !== 0
  let window = 0
  if (!single) {
    const encoded = littleEndian(yield 1)
    const base = 2 ** (10 + (encoded >> 3))
    window = base + (base / 8) * (encoded & 7)
  }
  const dictionaryId = [0, 1, 2, 4][descriptor & 3] ?? 0
  if (dictionaryId > 0) yield dictionaryId
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
  if (sizeBytes > 0) {
    const size = littleEndian(yield sizeBytes)
    if (single) window = sizeBytes === 2 ? size + 256 : size
  }
  if (window > maxWindow) throw new TarError(`zstd window of ${window} bytes is too large`)
  return (descriptor & 4) !== 0
}

function littleEndian(bytes: Uint8Array): number {
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0)
}
