import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { File } from '../src/file.js'
import { ReadAhead } from '../src/read-ahead.js'

it('gives what is in the file, in whatever pieces and order it is read', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'read-ahead-'))
  const bytes = randomBytes(700_001)
  await writeFile(join(dir, 'f'), bytes)
  const reads = fc.array(
    fc.tuple(fc.constantFrom('next', 'seek'), fc.nat(bytes.length + 10), fc.constantFrom(1, 1000, 32_768, 100_000, 200_000)),
    { minLength: 1, maxLength: 30 },
  )
  await fc.assert(
    fc.asyncProperty(reads, async (steps) => {
      const file = await File.open(join(dir, 'f'), 'r')
      const ahead = new ReadAhead(Promise.resolve(file))
      let at = 0
      for (const [how, offset, length] of steps) {
        if (how === 'seek') at = offset
        const target = Buffer.alloc(length)
        const count = await ahead.read(target, at)
        const expected = bytes.subarray(at, at + length)
        expect(count).toBe(expected.length)
        expect(target.subarray(0, count).equals(expected)).toBe(true)
        at += count
      }
      await file.close()
    }),
    { numRuns: 100 },
  )
  await rm(dir, { recursive: true })
})
