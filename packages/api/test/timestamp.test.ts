import { expect, test } from 'vitest'
import { compareTimestamps, now, timestampFromMs, timestampMs } from '../src/index.js'

test('stamps lie between two readings of the clock and never go back', () => {
  let previous = now()
  for (let round = 0; round < 20_000; round++) {
    const before = Date.now()
    const stamp = now()
    const after = Date.now()
    expect(timestampMs(stamp)).toBeGreaterThanOrEqual(before)
    expect(timestampMs(stamp)).toBeLessThanOrEqual(after)
    expect(compareTimestamps(previous, stamp)).toBeLessThanOrEqual(0)
    previous = stamp
  }
})

test('stamps resolve more than milliseconds', () => {
  const fractions = new Set(Array.from({ length: 100 }, () => now().nanos % 1_000_000))
  expect(fractions.size).toBeGreaterThan(10)
})

test('milliseconds before 1970 keep nanoseconds forward', () => {
  expect(timestampFromMs(-1)).toEqual({ seconds: -1, nanos: 999_000_000 })
  expect(timestampMs({ seconds: -1, nanos: 999_000_000 })).toBe(-1)
})
