import { Decompress } from 'fzstd'
import type { ByteSource } from './tar-reader.js'
import { createWindowGuard } from './zstd-window.js'

// A block of four bytes may stand for 128 KiB, so little is taken at a time.
const inputSize = 2048

/** Decompresses zstd where Node itself cannot (before 22.15). Several frames follow one another as one stream. */
export function createZstdSource(source: ByteSource): ByteSource {
  const ready: Uint8Array[] = []
  const decompressor = new Decompress((bytes) => {
    if (bytes.length > 0) ready.push(bytes)
  })
  const guard = createWindowGuard()
  let current: Buffer = Buffer.alloc(0)
  let ended = false

  return {
    read(max) {
      while (current.length === 0) {
        const next = ready.shift()
        if (next !== undefined) current = Buffer.from(next.buffer, next.byteOffset, next.length)
        else if (ended) return current
        else {
          // The decompressor keeps parts of its input.
          const input = Uint8Array.from(source.read(inputSize))
          ended = input.length === 0
          guard(input)
          decompressor.push(input, ended)
        }
      }
      const bytes = current.subarray(0, max)
      current = current.subarray(bytes.length)
      return bytes
    },
  }
}
