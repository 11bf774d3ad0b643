import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

test('the protos agree with the wire contract', () => {
  const dir = mkdtempSync(join(tmpdir(), 'wire-'))
  try {
    const set = join(dir, 'set.json')
    execFileSync('node_modules/.bin/buf', ['build', '-o', set])
    expect(execFileSync(process.execPath, ['wire/check.mjs', set], { encoding: 'utf8' })).toMatch(/ 0 differences/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
