import { UnknownError } from '@containerd-ts/interface'
import { layerCompression, uncompressedLayer } from './media-types.js'
import { runStreamProcessor, type StreamProcessor } from './stream-processor.js'

/** A layer as far as other programs bring it. */
export interface LayerStream {
  bytes: AsyncIterable<Uint8Array>
  /** What is left to do: to decompress what is told by its content, or nothing. */
  compression: 'detect' | 'none'
  /** Whether the bytes are those of the blob. */
  asStored: boolean
}

export interface LayerStreamOptions {
  processors: readonly StreamProcessor[]
  /** By the id of the processor that it is for. */
  payloads: ReadonlyMap<string, Uint8Array>
  signal: AbortSignal
}

// Types that lead from one to the other would never end.
const maxSteps = 16

/**
 * Has a layer of any media type made into an uncompressed one: by the processors that take it, the last one first, and otherwise by
 * what this differ itself can decompress.
 *
 * @throws UnknownError when nobody takes the media type.
 */
export function layerStream(blob: AsyncIterable<Uint8Array>, mediaType: string, options: LayerStreamOptions): LayerStream {
  const { processors, payloads, signal } = options
  let bytes = blob
  let asStored = true
  let type = mediaType
  for (let step = 0; step < maxSteps; step++) {
    const at = type
    const processor = processors.findLast(({ accepts }) => accepts.includes(at))
    if (processor === undefined) {
      const compression = layerCompression(at)
      if (compression === undefined)
        throw new UnknownError(`failed to get stream processor for ${at}: no processor for media-type`)
      return { bytes, compression, asStored }
    }
    const payload = payloads.get(processor.id)
    bytes = runStreamProcessor(processor, bytes, { mediaType: at, signal, ...(payload !== undefined && { payload }) })
    asStored = false
    type = processor.returns
    if (type === uncompressedLayer) return { bytes, compression: 'none', asStored }
  }
  throw new UnknownError(`failed to get stream processor for ${mediaType}: the processors lead in a circle`)
}
