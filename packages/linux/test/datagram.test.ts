import { closeSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { sendUnixDatagram } from '../src/datagram.js'
import { bind, check } from '../src/libc.js'

const socket = bind('int socket(int domain, int type, int protocol)')
const bindSocket = bind('int bind(int fd, const void *address, uint32_t length)')
const receive = bind('int64_t recv(int fd, void *buffer, size_t size, int flags)')

function listen(name: Buffer): number {
  const fd = check(socket(1, 2, 0), 'socket')
  const address = Buffer.concat([Buffer.from([1, 0]), name])
  check(bindSocket(fd, address, address.length), 'bind')
  return fd
}

test.each(['path', 'abstract'])('a datagram reaches a socket by %s', (kind) => {
  const dir = mkdtempSync(join(tmpdir(), 'datagram-'))
  const path = kind === 'path' ? join(dir, 'notify') : `@${dir}`
  const fd = listen(kind === 'path' ? Buffer.from(`${path}\0`) : Buffer.from(`\0${dir}`))
  try {
    sendUnixDatagram(path, Buffer.from('READY=1'))
    const buffer = Buffer.alloc(64)
    expect(buffer.toString('utf8', 0, Number(receive(fd, buffer, buffer.length, 0)))).toBe('READY=1')
  } finally {
    closeSync(fd)
    rmSync(dir, { recursive: true })
  }
})

test('a missing receiver is an error', () => {
  expect(() => sendUnixDatagram('/nowhere/notify', Buffer.from('x'))).toThrow('ENOENT')
})
