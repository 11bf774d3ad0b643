/** A point in time with nanoseconds, as `google.protobuf.Timestamp` carries it. */
export interface Timestamp {
  /** Seconds since 1970-01-01T00:00:00Z; negative before. */
  seconds: number
  /** 0 to 999,999,999, always forward in time. */
  nanos: number
}

/** Go's zero `time.Time` (year 1), which the API sends where nothing has happened yet. */
export const zeroTimestamp: Readonly<Timestamp> = Object.freeze({ seconds: -62_135_596_800, nanos: 0 })

/**
 * The current time, finer than a millisecond.
 *
 * Clients compare stamps with their own clock just before and after a call, so a value cut to milliseconds is too early. The
 * fraction within a millisecond comes from the monotonic clock, which each reading corrects by the wall clock.
 */
export function now(): Timestamp {
  const wall = BigInt(Date.now()) * MILLISECOND
  const monotonic = process.hrtime.bigint()
  let nanos = anchorWall + (monotonic - anchorMonotonic)
  if (nanos < wall - MILLISECOND || nanos > wall + 2n * MILLISECOND) return anchor()
  // The true time lies within the millisecond that the wall clock shows; a little drift is cut at its edge.
  if (nanos < wall) nanos = wall
  else if (nanos >= wall + MILLISECOND) nanos = wall + MILLISECOND - 1n
  anchorWall = nanos
  anchorMonotonic = monotonic
  return fromNanos(nanos)
}

const MILLISECOND = 1_000_000n
let anchorWall = 0n
let anchorMonotonic = 0n

/** Waits for the next tick of the wall clock, at most a millisecond: the one moment at which its fraction is known. */
function anchor(): Timestamp {
  const before = Date.now()
  let tick = before
  while (tick === before) tick = Date.now()
  anchorMonotonic = process.hrtime.bigint()
  anchorWall = BigInt(tick) * MILLISECOND
  return fromNanos(anchorWall)
}

function fromNanos(nanos: bigint): Timestamp {
  return { seconds: Number(nanos / 1_000_000_000n), nanos: Number(nanos % 1_000_000_000n) }
}

/** Sorts earlier before later. */
export function compareTimestamps(a: Timestamp, b: Timestamp): number {
  return a.seconds - b.seconds || a.nanos - b.nanos
}

/** Milliseconds since 1970, rounded down. */
export function timestampMs(time: Timestamp): number {
  return time.seconds * 1000 + Math.floor(time.nanos / 1_000_000)
}

/** The timestamp of a time in milliseconds since 1970. */
export function timestampFromMs(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000)
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1_000_000) }
}
