import type { ByteSource } from './tar-reader.js'

/**
 * Bytes from the event loop to a thread that waits for them: a ring in shared memory.
 *
 *     event loop ── write ──▶ ring ── read ──▶ thread
 *                ◀── "drain" message when it waits for room
 */
export interface SharedRing {
  control: Int32Array<SharedArrayBuffer>
  bytes: Uint8Array<SharedArrayBuffer>
}

// Places in `control`. The two counters run modulo 2^32; Signal changes with everything the thread may be waiting for.
const Written = 0
const Consumed = 1
const State = 2
const Signal = 3
const WriterWaits = 4

const Open = 0
const Ended = 1
const Aborted = 2

const capacity = 4 << 20
// What the thread takes at a time; the rest of the ring can be filled meanwhile.
const spanSize = 1 << 20

/** Thrown within the thread when the event loop gave up. */
export class AbortedError extends Error {
  override readonly name = 'AbortError'

  constructor() {
    super('the operation was aborted')
  }
}

export function createSharedRing(): SharedRing {
  return {
    control: new Int32Array(new SharedArrayBuffer(8 * Int32Array.BYTES_PER_ELEMENT)),
    bytes: new Uint8Array(new SharedArrayBuffer(capacity)),
  }
}

/** The side of the event loop. */
export interface RingWriter {
  /** Copies the bytes into the ring, waiting for room. After `close` it rejects. */
  write(bytes: Uint8Array): Promise<void>
  /** No more bytes will come. */
  end(): void
  /** The thread shall stop at its next look. */
  abort(): void
  /** To be called when the thread tells that there is room again. */
  drained(): void
  /** The thread does not read any more: a waiting `write` is rejected with the reason. */
  close(reason: Error): void
}

export function createRingWriter({ control, bytes }: SharedRing): RingWriter {
  let waiting: { resolve(): void; reject(reason: Error): void } | undefined
  let closed: Error | undefined

  const used = () => (Atomics.load(control, Written) - Atomics.load(control, Consumed)) >>> 0
  const signal = () => {
    Atomics.add(control, Signal, 1)
    Atomics.notify(control, Signal)
  }
  const settle = (state: number) => {
    Atomics.compareExchange(control, State, Open, state)
    signal()
  }
  return {
    async write(data) {
      for (let offset = 0; offset < data.length; ) {
        if (closed !== undefined) throw closed
        const room = capacity - used()
        if (room === 0) {
          Atomics.store(control, WriterWaits, 1)
          // The thread may have made room before it could see that.
          if (capacity - used() === 0) await new Promise<void>((resolve, reject) => (waiting = { resolve, reject }))
          continue
        }
        const start = (Atomics.load(control, Written) >>> 0) % capacity
        const length = Math.min(room, capacity - start, data.length - offset)
        bytes.set(data.subarray(offset, offset + length), start)
        Atomics.add(control, Written, length)
        signal()
        offset += length
      }
    },
    end: () => settle(Ended),
    abort: () => {
      Atomics.store(control, State, Aborted)
      signal()
    },
    drained() {
      waiting?.resolve()
      waiting = undefined
    },
    close(reason) {
      closed = reason
      waiting?.reject(reason)
      waiting = undefined
    },
  }
}

/** The thread's side. */
export interface RingReader extends ByteSource {
  /** @throws AbortedError when the event loop gave up. */
  throwIfAborted(): void
}

/** `onBytes` sees everything once and in order; `onDrain` tells the event loop that there is room. */
export function createRingReader(ring: SharedRing, onBytes: (bytes: Buffer) => void, onDrain: () => void): RingReader {
  const { control } = ring
  const memory = Buffer.from(ring.bytes.buffer)
  let span = memory.subarray(0, 0)
  let taken = 0
  let ended = false

  function release(): void {
    if (span.length === 0) return
    Atomics.add(control, Consumed, span.length)
    span = memory.subarray(0, 0)
    taken = 0
    if (Atomics.exchange(control, WriterWaits, 0) === 1) onDrain()
  }

  function throwIfAborted(): void {
    if (Atomics.load(control, State) === Aborted) throw new AbortedError()
  }

  /** Waits for bytes; false at the end. */
  function fill(): boolean {
    release()
    for (;;) {
      const seen = Atomics.load(control, Signal)
      throwIfAborted()
      // The end is announced after the last bytes, so it is looked at before them.
      const atEnd = Atomics.load(control, State) === Ended
      const consumed = Atomics.load(control, Consumed) >>> 0
      const available = ((Atomics.load(control, Written) >>> 0) - consumed) >>> 0
      if (available > 0) {
        const start = consumed % capacity
        span = memory.subarray(start, start + Math.min(available, capacity - start, spanSize))
        onBytes(span)
        return true
      }
      if (atEnd) return false
      Atomics.wait(control, Signal, seen)
    }
  }

  return {
    throwIfAborted,
    read(max) {
      if (max <= 0 || ended) return memory.subarray(0, 0)
      if (taken === span.length && !fill()) {
        ended = true
        return memory.subarray(0, 0)
      }
      const bytes = span.subarray(taken, taken + max)
      taken += bytes.length
      return bytes
    },
  }
}
