import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { joinConfined } from '../src/index.js'

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'confined-'))
  mkdirSync(join(root, 'a/b'), { recursive: true })
  symlinkSync('/etc', join(root, 'absolute'))
  symlinkSync('../../../../etc', join(root, 'a/climbing'))
  symlinkSync('a/b', join(root, 'inside'))
  symlinkSync('loop', join(root, 'loop'))
})
afterAll(() => rmSync(root, { recursive: true }))

test.each([
  ['', ''],
  ['a/./b/', 'a/b'],
  ['../../x', 'x'],
  ['/etc/passwd', 'etc/passwd'],
  ['absolute/passwd', 'etc/passwd'],
  ['a/climbing/passwd', 'etc/passwd'],
  ['inside/../c', 'a/c'],
  ['missing/../a', 'a'],
])('%j leads to %j', (path, expected) => {
  expect(joinConfined(root, path)).toBe(join(root, expected))
})

test('links that go round in circles are an error', () => {
  expect(() => joinConfined(root, 'loop/x')).toThrow('ELOOP')
})
