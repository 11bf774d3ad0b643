import type { Timestamp } from '@containerd-ts/api'

/*
 * Times that are kept in file times and file names have whole microseconds: that is what file systems and JavaScript numbers can both
 * hold. A stamp taken before some work is rounded up and one taken after it down, so that neither leaves the time of the work.
 */

export function roundedUp({ seconds, nanos }: Timestamp): Timestamp {
  const micros = Math.ceil(nanos / 1000)
  return micros === 1_000_000 ? { seconds: seconds + 1, nanos: 0 } : { seconds, nanos: micros * 1000 }
}

export function roundedDown({ seconds, nanos }: Timestamp): Timestamp {
  return { seconds, nanos: nanos - (nanos % 1000) }
}

export function microsOf({ seconds, nanos }: Timestamp): number {
  return seconds * 1_000_000 + Math.floor(nanos / 1000)
}

export function timestampOfMicros(micros: number): Timestamp {
  const seconds = Math.floor(micros / 1_000_000)
  return { seconds, nanos: (micros - seconds * 1_000_000) * 1000 }
}

export function timestampOfNs(ns: bigint): Timestamp {
  return timestampOfMicros(Number(ns / 1000n))
}

export function isTimestamp(value: unknown): value is Timestamp {
  return (
    typeof value === 'object' &&
    value !== null &&
    'seconds' in value &&
    typeof value.seconds === 'number' &&
    'nanos' in value &&
    typeof value.nanos === 'number'
  )
}
