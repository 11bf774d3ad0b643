import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { transformed } from './transform.js'
import { zstdLibrary } from './zstd-library.js'

/** How bytes are compressed. */
export type Encoding = 'raw' | 'gzip' | 'zstd'

/** A stream of bytes of which the beginning has been looked at. */
export interface Peeked {
  encoding: Encoding
  /** All of the stream, the beginning included. To be consumed once. */
  bytes: AsyncIterable<Uint8Array>
}

/** As many first bytes as are needed to tell how a stream is compressed. */
export const magicSize = 10
const chunkSize = 128 * 1024

/** Tells by its first bytes how a stream is compressed. What is shorter than ten bytes is not. */
export async function peekEncoding(source: AsyncIterable<Uint8Array>): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]()
  const head: Uint8Array[] = []
  let length = 0
  while (length < magicSize) {
    const step = await iterator.next()
    if (step.done) break
    head.push(step.value)
    length += step.value.length
  }
  const start = Buffer.concat(head).subarray(0, magicSize)
  return { encoding: encodingOf(start), bytes: rejoin(head, iterator) }
}

/** Tells by the first {@link magicSize} bytes how a stream is compressed; one that is shorter is not. */
export function encodingOf(start: Buffer): Encoding {
  if (start.length < magicSize) return 'raw'
  if (start[0] === 0x1f && start[1] === 0x8b && start[2] === 0x08) return 'gzip'
  const magic = start.readUInt32LE()
  // A frame, or one to be skipped before a frame.
  return magic === 0xfd2fb528 || (magic >= 0x184d2a50 && magic <= 0x184d2a5f) ? 'zstd' : 'raw'
}

async function* rejoin(head: readonly Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* head
    for (let step = await rest.next(); !step.done; step = await rest.next()) yield step.value
  } finally {
    await rest.return?.()
  }
}

// Node has it since 22.15.
const { createZstdCompress, createZstdDecompress } = zlib as unknown as {
  createZstdCompress?: (options: { chunkSize: number }) => Transform
  createZstdDecompress?: (options: { chunkSize: number }) => Transform
}

/** Makes what decompresses zstd off the event loop: Node's own, or that of the system's library. Undefined where there is neither. */
function zstdDecompressor(): (() => Transform) | undefined {
  return createZstdDecompress === undefined ? zstdLibrary()?.createDecompressor : () => createZstdDecompress({ chunkSize })
}

/** Makes what compresses to zstd, off the event loop; undefined where neither Node nor the system can. */
export function zstdCompressor(): (() => Transform) | undefined {
  return createZstdCompress === undefined ? zstdLibrary()?.createCompressor : () => createZstdCompress({ chunkSize })
}

/**
 * Decompresses on a thread of the pool; undefined for zstd where neither Node nor the system can. `stop` as in {@link transformed}.
 *
 * @throws errors of zlib when the data is damaged.
 */
export function decompress(
  encoding: Encoding,
  bytes: AsyncIterable<Uint8Array>,
  stop?: () => unknown,
): AsyncIterable<Uint8Array> | undefined {
  if (encoding === 'raw') return bytes
  if (encoding === 'gzip') return transformed(bytes, zlib.createGunzip({ chunkSize }), stop)
  const decompressor = zstdDecompressor()
  return decompressor === undefined ? undefined : transformed(bytes, decompressor(), stop)
}
