import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { composeKey, keyBytes, keyOfBytes, splitKey } from '../src/key.js'
import { SortedMap } from '../src/sorted-map.js'

const part = fc.string({ unit: fc.constantFrom('\0', '\x01', '\x02', 'a', 'b', '/', 'é', '\uffee', '\u{1f600}'), maxLength: 4 })

describe('keys', () => {
  it('give back their parts and sort as these do, bytewise', () => {
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 3 }), fc.array(part, { minLength: 1, maxLength: 3 }), (a, b) => {
        expect(splitKey(composeKey(...a))).toEqual(a)
        expect(keyOfBytes(keyBytes(composeKey(...a)))).toBe(composeKey(...a))
        expect(Math.sign(Buffer.compare(keyBytes(composeKey(...a)), keyBytes(composeKey(...b))))).toBe(compareParts(a, b))
        expect(composeKey(...a) < composeKey(...b)).toBe(compareParts(a, b) < 0)
      }),
      { numRuns: 1000 },
    )
  })
})

function compareParts(a: readonly string[], b: readonly string[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index]
    if (right === undefined) return 1
    const order = Buffer.compare(Buffer.from(left), Buffer.from(right))
    if (order !== 0) return order
  }
  return a.length === b.length ? 0 : -1
}

describe('a sorted map', () => {
  it('lists what it holds in order, through many insertions and deletions', () => {
    const map = new SortedMap<{ key: string; value: number }>()
    const model = new Map<string, number>()
    let seed = 1
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return Math.floor((seed / 2147483648) * below)
    }
    for (let step = 0; step < 20_000; step++) {
      const key = `${'abc'[random(3)]}/${String(random(3000)).padStart(4, '0')}`
      // First it grows, then it shrinks.
      if (random(10) < (step < 12_000 ? 8 : 2)) {
        map.set({ key, value: step })
        model.set(key, step)
      } else {
        map.delete(key)
        model.delete(key)
      }
      if (step % 1000 !== 999) continue
      for (const prefix of ['', 'a/', 'b/1', 'c/2999', 'd/', 'b/0']) {
        const expected = [...model].filter(([k]) => k.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1))
        expect(map.range(prefix).map(({ key: k, value }) => [k, value])).toEqual(expected)
      }
    }
    for (const [key, value] of model) expect(map.get(key)?.value).toBe(value)
    for (const key of model.keys()) map.delete(key)
    expect(map.range('')).toEqual([])
    map.set({ key: 'x', value: 1 })
    expect(map.range('')).toHaveLength(1)
  })
})
