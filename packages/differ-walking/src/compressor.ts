import type { Transform } from 'node:stream'
import { createGzip } from 'node:zlib'
import { zstdCompressor } from '@containerd-ts/archive'
import { UnimplementedError } from '@containerd-ts/interface'
import { uncompressedLayer } from './media-types.js'

const chunkSize = 128 * 1024

/** Makes what compresses a layer of that media type; nothing for one that is not compressed. @throws UnimplementedError */
export function compressorFor(mediaType: string): (() => Transform) | undefined {
  switch (mediaType) {
    case uncompressedLayer:
      return undefined
    case `${uncompressedLayer}+gzip`:
      return () => createGzip({ chunkSize })
    case `${uncompressedLayer}+zstd`: {
      const compressor = zstdCompressor()
      if (compressor === undefined)
        throw new UnimplementedError(`diff media type ${mediaType} needs libzstd.so.1 or Node.js 22.15`)
      return compressor
    }
    default:
      throw new UnimplementedError(`unsupported diff media type: ${mediaType}`)
  }
}
