import { randomBytes } from 'node:crypto'
import { Readable, type Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { decompress } from 'fzstd'
import { describe, expect, test } from 'vitest'
import { zstdLibrary } from '../src/zstd-library.js'
import { createZstdSource } from '../src/zstd-source.js'

const library = zstdLibrary()
if (library === undefined) console.log('there is no libzstd.so.1 here')

const through = (bytes: Buffer, piece: number, transform: Transform): Promise<Buffer> => {
  const pieces = Array.from({ length: Math.ceil(bytes.length / piece) }, (_, i) => bytes.subarray(i * piece, (i + 1) * piece))
  return new Promise((resolve, reject) => {
    transform.once('error', reject)
    buffer(Readable.from(pieces).pipe(transform)).then(resolve, reject)
  })
}

/** Decompressed as a thread does it where there is no other decoder. */
function onThread(compressed: Buffer): Buffer {
  let offset = 0
  const source = createZstdSource({
    read(max) {
      const bytes = compressed.subarray(offset, offset + max)
      offset += bytes.length
      return bytes
    },
  })
  const parts: Buffer[] = []
  for (let bytes = source.read(5000); bytes.length > 0; bytes = source.read(5000)) parts.push(Buffer.from(bytes))
  return Buffer.concat(parts)
}

describe.runIf(library !== undefined)("the system's zstd", () => {
  const inputs = [Buffer.alloc(0), Buffer.from('short'), Buffer.alloc(3_000_000, 'again and again'), randomBytes(700_000)]

  test('writes what another decoder reads, and reads it itself', async () => {
    for (const input of inputs) {
      const compressed = await through(input, 99_999, library?.createCompressor() as Transform)
      expect(Buffer.from(decompress(compressed)).equals(input)).toBe(true)
      for (const piece of [7777, 1 << 20])
        expect((await through(compressed, piece, library?.createDecompressor() as Transform)).equals(input)).toBe(true)
      expect(onThread(compressed).equals(input)).toBe(true)
      const twice = Buffer.concat([compressed, compressed])
      expect((await through(twice, 5000, library?.createDecompressor() as Transform)).length).toBe(2 * input.length)
    }
  })

  test('refuses what is damaged, cut or demands gigabytes, and can be left at any time', async () => {
    const whole = await through(inputs[3] as Buffer, 1 << 16, library?.createCompressor() as Transform)
    const decompressor = () => library?.createDecompressor() as Transform
    await expect(through(whole.subarray(0, -9), 4096, decompressor())).rejects.toThrow('unexpected end of zstd data')
    await expect(through(Buffer.from('no zstd at all'), 4096, decompressor())).rejects.toThrow('zstd: Unknown frame descriptor')
    const greedy = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x03, 0, 0, 0x01, 0, 0])
    await expect(through(greedy, 4096, decompressor())).rejects.toThrow(/memory|window/i)
    for (let i = 0; i < 20; i++) {
      const left = decompressor()
      left.on('error', () => {})
      left.write(whole)
      left.destroy()
    }
  })
})
