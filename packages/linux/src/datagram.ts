import { bind, check } from './libc.js'

const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const socket = bind('int socket(int domain, int type, int protocol)')
const sendto = bind(
  'int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)',
)
const close = bind('int close(int fd)')

/** Sends one datagram to a unix socket; a path that begins with `@` is in the abstract namespace. @throws SystemError */
export function sendUnixDatagram(path: string, data: Buffer): void {
  const name = Buffer.from(path)
  if (path.startsWith('@')) name[0] = 0
  const address = Buffer.alloc(2 + name.length + (path.startsWith('@') ? 0 : 1))
  address.writeUInt16LE(AF_UNIX, 0)
  name.copy(address, 2)
  const fd = check(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket')
  try {
    check(Number(sendto(fd, data, data.length, 0, address, address.length)), 'sendto', path)
  } finally {
    close(fd)
  }
}
