import { expect, test } from 'vitest'
import {
  background,
  digestProblem,
  parseDigest,
  requireNamespace,
  updatedLabels,
  validateIdentifier,
  validateLabels,
} from '../src/index.js'

test.each(['a', 'A-1', 'a.b_c-d', 'x'.repeat(76), '0'])('%s is an identifier', (id) => {
  expect(() => validateIdentifier(id)).not.toThrow()
})

test.each(['', '.', '..', '../a', 'a/b', '-a', 'a-', 'a..b', 'a b', 'ä', 'x'.repeat(77), 'a\n', 'a\0'])('%j is none', (id) => {
  expect(() => validateIdentifier(id)).toThrow(/identifier/)
})

test('a namespace is needed and checked', () => {
  expect(requireNamespace(background('ns'))).toBe('ns')
  expect(() => requireNamespace(background())).toThrow('namespace is required: failed precondition')
  expect(() => requireNamespace(background('a/b'))).toThrow('namespace validation: identifier "a/b" must match')
})

const hex = (length: number) => 'a'.repeat(length)

test.each([
  [`sha256:${hex(64)}`, undefined],
  [`sha384:${hex(96)}`, undefined],
  [`sha512:${hex(128)}`, undefined],
  [`sha256:${hex(63)}`, 'invalid checksum digest length'],
  [`sha256:${'A'.repeat(64)}`, 'invalid checksum digest format'],
  [`md5:${hex(32)}`, 'unsupported digest algorithm'],
  [hex(64), 'invalid checksum digest format'],
  [`sha256:../../${hex(58)}`, 'invalid checksum digest format'],
  ['', 'invalid checksum digest format'],
])('digest %s', (digest, problem) => {
  expect(digestProblem(digest)).toBe(problem)
  if (problem === undefined) expect(parseDigest(digest).hex).toBe(digest.split(':')[1])
  else expect(() => parseDigest(digest)).toThrow(problem)
})

test('labels have a limit in bytes, and the message shows only the beginning of the key', () => {
  expect(() => validateLabels({ k: 'v'.repeat(4095) }, 'x.Labels')).not.toThrow()
  expect(() => validateLabels({ k: 'v'.repeat(4096) }, 'x.Labels')).toThrow(
    'x.Labels: label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k',
  )
  expect(() => validateLabels({ k: 'ä'.repeat(2048) }, 'x.Labels')).toThrow('4097 bytes')
})

test('field paths take everything after the first dot as the key', () => {
  const current = { a: '1', 'b.c/d': '2' }
  expect(updatedLabels(current, { 'b.c/d': '3' }, ['labels.b.c/d'], 'x')).toEqual({ a: '1', 'b.c/d': '3' })
  expect(updatedLabels(current, {}, ['labels.a'], 'x')).toEqual({ 'b.c/d': '2' })
  expect(updatedLabels(current, { e: '4', empty: '' }, [], 'x')).toEqual({ e: '4' })
  expect(() => updatedLabels(current, {}, ['name'], 'image "i"')).toThrow('cannot update "name" field on image "i"')
})
