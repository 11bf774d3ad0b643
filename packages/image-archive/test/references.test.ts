import { expect, test } from 'vitest'
import { addRefPrefix, familiarReference, filterRefPrefix, normalizeReference, ociReferenceName } from '../src/index.js'

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`

test.each([
  ['busybox', 'docker.io/library/busybox:latest', 'busybox:latest', 'latest'],
  ['docker.io/busybox:1', 'docker.io/library/busybox:1', 'busybox:1', '1'],
  ['index.docker.io/a/b', 'docker.io/a/b:latest', 'a/b:latest', 'latest'],
  ['localhost/a', 'localhost/a:latest', 'localhost/a:latest', 'latest'],
  ['example.com/A', undefined],
  ['Example/a', 'Example/a:latest', 'Example/a:latest', 'latest'],
  ['[::1]:5000/a-b__c/d:x', '[::1]:5000/a-b__c/d:x', '[::1]:5000/a-b__c/d:x', 'x'],
  [`h:5000/a:t@${digest}`, `h:5000/a@${digest}`, `h:5000/a@${digest}`, `h:5000/a@${digest}`],
  [`a@${digest}`, `docker.io/library/a@${digest}`, `a@${digest}`, `docker.io/library/a@${digest}`],
  ['library/x/y', 'docker.io/library/x/y:latest', 'library/x/y:latest', 'latest'],
  ['', undefined],
  ['a:', undefined],
  ['a//b', undefined],
  ['../a', undefined],
  ['a:b:c', undefined],
  ['a@sha256:00', undefined],
  [`a@md5:${'0'.repeat(32)}`, undefined],
  ['0123456789abcdef'.repeat(4), undefined],
  [`a/${'b'.repeat(254)}`, undefined],
  [`${'a-'.repeat(100_000)}`, undefined],
])('%#: an image that Docker calls %s', (name, normalized, familiar = '', tag = '') => {
  if (normalized === undefined) {
    expect(() => normalizeReference(name)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    return
  }
  expect(normalizeReference(name)).toBe(normalized)
  expect(familiarReference(normalized)).toBe(familiar)
  expect(ociReferenceName(normalized)).toBe(tag)
})

test.each([
  ['no-slash:tag', 'no-slash:tag'],
  ['host:port/a:b', 'host:port/a:b'],
  ['http://h/a:b', 'http://h/a:b'],
  [`h/a:t@${digest}`, `t@${digest}`],
  ['/a:b', '/a:b'],
])('the OCI name of %s', (name, expected) => {
  expect(ociReferenceName(name)).toBe(expected)
})

test('prefixes go before tags, and are required of whole names where asked', () => {
  const names = ['latest', 'h/a:1', 'h/a', 'h/ab:1', 'h/b:1']
  expect(names.map(addRefPrefix('h/a'))).toEqual(['h/a:latest', 'h/a:1', 'h/a', 'h/ab:1', 'h/b:1'])
  expect(names.map(filterRefPrefix('h/a'))).toEqual(['h/a:latest', 'h/a:1', 'h/a', '', ''])
  expect(names.map(addRefPrefix(''))).toEqual(names.map(() => ''))
})
