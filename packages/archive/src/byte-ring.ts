import type { ByteSource } from './tar-reader.js'

/**
 * Bytes from the event loop to threads that wait for them: a ring in shared memory. Every reader sees all of the bytes.
 *
 *     event loop ── write ──▶ ring ── read ──▶ thread
 *                │                └── read ──▶ thread
 *                ◀── "drain" message when it waits for room
 */
export interface SharedRing {
  /** How many threads read it. */
  readers: number
  control: Int32Array<SharedArrayBuffer>
  bytes: Uint8Array<SharedArrayBuffer>
}

// Places in `control`. The counters run modulo 2^32; Signal changes with everything a thread may be waiting for.
const Written = 0
const State = 1
const Signal = 2
const WriterWaits = 3
// From here on, a counter for each reader.
const Consumed = 4

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

const maxReaders = 2

/** Rings that are used again and again: their memory is only given back when every thread has collected its garbage. */
export interface RingPool {
  /** A ring without anything in it, to be read by so many threads. */
  take(readers: number): SharedRing
  /** Takes a ring back that nobody reads or writes any more. */
  giveBack(ring: SharedRing): void
}

/** Keeps up to `max` rings. */
export function createRingPool(max: number): RingPool {
  const free: SharedRing[] = []
  return {
    take(readers) {
      const ring = free.pop() ?? createSharedRing()
      ring.control.fill(0)
      return { ...ring, readers }
    },
    giveBack(ring) {
      if (free.length < max) free.push(ring)
    },
  }
}

function createSharedRing(): SharedRing {
  return {
    readers: 0,
    control: new Int32Array(new SharedArrayBuffer((Consumed + maxReaders) * Int32Array.BYTES_PER_ELEMENT)),
    bytes: new Uint8Array(new SharedArrayBuffer(capacity)),
  }
}

/** The side of the event loop. */
export interface RingWriter {
  /** Copies the bytes into the ring, waiting for room. After `close` it rejects. */
  write(bytes: Uint8Array): Promise<void>
  /** No more bytes will come. */
  end(): void
  /** The threads shall stop at their next look. */
  abort(): void
  /** To be called when a thread tells that there is room again. */
  drained(): void
  /** Nobody reads any more: a waiting `write` is rejected with the reason. */
  close(reason: Error): void
}

export function createRingWriter({ readers, control, bytes }: SharedRing): RingWriter {
  let waiting: { resolve(): void; reject(reason: Error): void } | undefined
  let closed: Error | undefined

  /** Bytes that the slowest reader has yet to see. */
  const used = () => {
    let most = 0
    for (let reader = Consumed; reader < Consumed + readers; reader++)
      most = Math.max(most, (Atomics.load(control, Written) - Atomics.load(control, reader)) >>> 0)
    return most
  }
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
          // The last reader may have made room before it could see that.
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

/** A thread's side. */
export interface RingReader extends ByteSource {
  /** @throws AbortedError when the event loop gave up. */
  throwIfAborted(): void
}

/** Reader number `reader`, from 0 on. `onDrain` tells the event loop that there is room. */
export function createRingReader(ring: SharedRing, reader: number, onDrain: () => void): RingReader {
  const { control } = ring
  const place = Consumed + reader
  const memory = Buffer.from(ring.bytes.buffer)
  let span = memory.subarray(0, 0)
  let taken = 0
  let ended = false

  function release(): void {
    if (span.length === 0) return
    Atomics.add(control, place, span.length)
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
      const consumed = Atomics.load(control, place) >>> 0
      const available = ((Atomics.load(control, Written) >>> 0) - consumed) >>> 0
      if (available > 0) {
        const start = consumed % capacity
        span = memory.subarray(start, start + Math.min(available, capacity - start, spanSize))
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
