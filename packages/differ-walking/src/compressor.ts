import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { UnimplementedError } from '@containerd-ts/interface'
import { uncompressedLayer } from './media-types.js'

const chunkSize = 128 * 1024
// Node has it since 22.15.
const { createZstdCompress } = zlib as unknown as { createZstdCompress?: (options: { chunkSize: number }) => Transform }

/** Makes what compresses a layer of that media type; nothing for one that is not compressed. @throws UnimplementedError */
export function compressorFor(mediaType: string): (() => Transform) | undefined {
  switch (mediaType) {
    case uncompressedLayer:
      return undefined
    case `${uncompressedLayer}+gzip`:
      return () => zlib.createGzip({ chunkSize })
    case `${uncompressedLayer}+zstd`:
      if (createZstdCompress === undefined)
        throw new UnimplementedError(`diff media type ${mediaType} needs a newer Node.js (22.15)`)
      return () => createZstdCompress({ chunkSize })
    default:
      throw new UnimplementedError(`unsupported diff media type: ${mediaType}`)
  }
}
