import { AbortedError } from './byte-ring.js'
import type { ByteSink } from './change-writer.js'

// Chunks from a thread to the event loop. `flow` counts those that are under way; the thread waits when they are many.
const Outstanding = 0
const Aborted = 1

const chunkSize = 256 * 1024
const maxOutstanding = 8
const farBelowZero = -1_000_000

export type ChunkFlow = Int32Array<SharedArrayBuffer>

export function createChunkFlow(): ChunkFlow {
  return new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT))
}

/** To be called by the event loop for each chunk that is dealt with. */
export function chunkTaken(flow: ChunkFlow): void {
  Atomics.sub(flow, Outstanding, 1)
  Atomics.notify(flow, Outstanding)
}

/** Lets the thread stop at its next chunk. */
export function abortFlow(flow: ChunkFlow): void {
  Atomics.store(flow, Aborted, 1)
  // Whoever is about to wait finds another value than expected.
  Atomics.add(flow, Outstanding, farBelowZero)
  Atomics.notify(flow, Outstanding)
}

export function throwIfFlowAborted(flow: ChunkFlow): void {
  if (Atomics.load(flow, Aborted) === 1) throw new AbortedError()
}

/** The thread's side: `send` gets whole chunks, whose memory is not used again. `flush` sends what is left. */
export function createChunkSink(flow: ChunkFlow, send: (bytes: Uint8Array<ArrayBuffer>) => void): ByteSink & { flush(): void } {
  let chunk = newChunk()
  let filled = 0

  function flush(): void {
    if (filled === 0) return
    for (;;) {
      throwIfFlowAborted(flow)
      const outstanding = Atomics.load(flow, Outstanding)
      if (outstanding < maxOutstanding) break
      Atomics.wait(flow, Outstanding, outstanding)
    }
    Atomics.add(flow, Outstanding, 1)
    send(chunk.subarray(0, filled))
    chunk = newChunk()
    filled = 0
  }

  return {
    flush,
    write(bytes) {
      for (let offset = 0; offset < bytes.length; ) {
        const part = bytes.subarray(offset, offset + chunkSize - filled)
        chunk.set(part, filled)
        filled += part.length
        offset += part.length
        if (filled === chunkSize) flush()
      }
    },
    fill(max, fill) {
      const room = Math.min(max, chunkSize - filled)
      const count = fill(Buffer.from(chunk.buffer, filled, room))
      filled += count
      if (filled === chunkSize) flush()
      return count
    },
  }
}

function newChunk(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(chunkSize))
}
