/** Bytes before each payload: `u32 length | u32 stream id | u8 type | u8 flags`, big endian. */
export const headerSize = 10
/** The largest payload. */
export const maxPayload = 4 << 20

export const FrameType = { Request: 1, Response: 2, Data: 3 } as const
export const Flag = { RemoteClosed: 1, RemoteOpen: 2, NoData: 4 } as const

export interface Frame {
  streamId: number
  type: number
  flags: number
  /** A view of what was received; copied by nobody. */
  payload: Buffer
}

/** A frame ready to be written. Small payloads are joined with their header, as one write costs more than the copy. */
export function frameChunks(streamId: number, type: number, flags: number, payload: Uint8Array): [Buffer] | [Buffer, Uint8Array] {
  const joined = payload.length <= 16_384
  const head = Buffer.allocUnsafe(joined ? headerSize + payload.length : headerSize)
  head.writeUInt32BE(payload.length, 0)
  head.writeUInt32BE(streamId, 4)
  head[8] = type
  head[9] = flags
  if (!joined) return [head, payload]
  head.set(payload, headerSize)
  return [head]
}

/**
 * Cuts a byte stream into frames. A payload beyond the limit is skipped, not kept, and told to `onOversize`.
 *
 * @returns what takes the received chunks.
 */
export function createFrameReader(
  onFrame: (frame: Frame) => void,
  onOversize: (streamId: number, type: number, length: number) => void,
): (chunk: Buffer) => void {
  let kept: Buffer[] = []
  let keptLength = 0
  let needed = headerSize
  let skip = 0

  return (chunk) => {
    if (skip > 0) {
      const skipped = Math.min(skip, chunk.length)
      skip -= skipped
      chunk = chunk.subarray(skipped)
    }
    if (keptLength > 0) {
      kept.push(chunk)
      keptLength += chunk.length
      if (keptLength < needed) return
      chunk = Buffer.concat(kept, keptLength)
      kept = []
      keptLength = 0
    }
    let offset = 0
    for (;;) {
      const rest = chunk.length - offset
      needed = headerSize
      if (rest < headerSize) break
      const length = chunk.readUInt32BE(offset)
      const streamId = chunk.readUInt32BE(offset + 4)
      const type = chunk[offset + 8] ?? 0
      if (length > maxPayload) {
        onOversize(streamId, type, length)
        const here = Math.min(length, rest - headerSize)
        skip = length - here
        offset += headerSize + here
        continue
      }
      needed = headerSize + length
      if (rest < needed) break
      const payload = chunk.subarray(offset + headerSize, offset + needed)
      offset += needed
      onFrame({ streamId, type, flags: chunk[offset - length - 1] ?? 0, payload })
    }
    if (offset < chunk.length) {
      kept = [chunk.subarray(offset)]
      keptLength = chunk.length - offset
    }
  }
}
