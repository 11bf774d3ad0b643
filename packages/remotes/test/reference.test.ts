import { describe, expect, it } from 'vitest'
import { parseReference } from '../src/index.js'

const digest = `sha256:${'a'.repeat(64)}`

describe('parseReference', () => {
  it.each([
    ['docker.io/library/redis:foo?fooo=asdf', { host: 'docker.io', repository: 'library/redis', tag: 'foo', object: 'foo' }],
    [
      `docker.io/library/redis:foo@${digest}`,
      { host: 'docker.io', repository: 'library/redis', tag: 'foo', digest, object: `foo@${digest}` },
    ],
    [`docker.io/library/redis@${digest}`, { host: 'docker.io', repository: 'library/redis', digest, object: `@${digest}` }],
    [
      'localhost:5000/redis:obj@abcdef',
      { host: 'localhost:5000', repository: 'redis', tag: 'obj', digest: 'abcdef', object: 'obj@abcdef' },
    ],
    ['[::1]:5000/a', { host: '[::1]:5000', repository: 'a', object: '' }],
    ['docker.io/library/redis', { host: 'docker.io', repository: 'library/redis', object: '' }],
    ['xn--n3h.com/a//b:x.y', { host: 'xn--n3h.com', repository: 'a/b', tag: 'x.y', object: 'x.y' }],
    ['busybox', { host: 'busybox', repository: '', object: '' }],
  ])('splits %s', (text, parts) => {
    expect(parseReference(text)).toEqual(parts)
  })

  it.each([
    '',
    '/library/redis',
    'https://docker.io/library/redis',
    '../etc/redis:latest',
    '.../redis',
    'user:password@docker.io/redis',
    'docker.io/a/../../b:latest',
    'docker.io/a/./b',
    'docker.io/a%2f..%2fb',
    'docker.io/a b',
    'docker.io/a\r\nx: y',
    'docker.io\\x/a',
    'host:port/a',
  ])('refuses %j', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  })
})
