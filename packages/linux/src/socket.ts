import { closeSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { address } from 'koffi'
import { SystemError } from './errno.js'
import { bind, check } from './libc.js'

const getsockopt = bind('int getsockopt(int fd, int level, int name, void *value, void *length)')
const recvmsg = bind('long recvmsg(int fd, void *message, int flags)')
const createSocketPair = bind('int socketpair(int domain, int type, int protocol, void *fds)')

const SOL_SOCKET = 1
const SO_PEERCRED = 17
const SCM_RIGHTS = 1
const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const MSG_CMSG_CLOEXEC = 0x40000000

/** Who connected to a unix socket. */
export interface PeerCredentials {
  pid: number
  uid: number
  gid: number
}

/** The descriptor of a connected socket or another stream of Node's; undefined when it is closed. */
export function descriptorOf(stream: Socket): number | undefined {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined
  if (typeof handle !== 'object' || handle === null || !('fd' in handle) || typeof handle.fd !== 'number' || handle.fd < 0)
    return undefined
  return handle.fd
}

/** The process at the other end of a unix socket, as it was when it connected. @throws SystemError */
export function peerCredentials(socket: Socket | number): PeerCredentials {
  const fd = typeof socket === 'number' ? socket : descriptorOf(socket)
  if (fd === undefined) throw new SystemError('EBADF', -9, 'getsockopt')
  const value = Buffer.alloc(12)
  const length = Buffer.from(Uint32Array.of(value.length).buffer)
  check(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length), 'getsockopt')
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) }
}

/** Two unix stream sockets connected to each other, closed on exec. The caller closes them. */
export function socketPair(): [number, number] {
  const fds = Buffer.alloc(8)
  check(createSocketPair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 'socketpair')
  return [fds.readInt32LE(0), fds.readInt32LE(4)]
}

/**
 * Receives one message with descriptors (SCM_RIGHTS) from a unix socket. The received descriptors are closed on exec and belong to the
 * caller. At the end of the stream there are none and `bytes` is empty.
 *
 * @throws SystemError EAGAIN from a non-blocking socket without a message.
 */
export function receiveDescriptors(fd: number): { bytes: Buffer; fds: number[] } {
  const bytes = Buffer.alloc(4096)
  const control = Buffer.alloc(256)
  const vector = Buffer.alloc(16)
  vector.writeBigUInt64LE(BigInt(address(bytes)), 0)
  vector.writeBigUInt64LE(BigInt(bytes.length), 8)
  // struct msghdr of 64-bit Linux.
  const message = Buffer.alloc(56)
  message.writeBigUInt64LE(BigInt(address(vector)), 16)
  message.writeBigUInt64LE(1n, 24)
  message.writeBigUInt64LE(BigInt(address(control)), 32)
  message.writeBigUInt64LE(BigInt(control.length), 40)
  const count = check(Number(recvmsg(fd, message, MSG_CMSG_CLOEXEC)), 'recvmsg')
  return { bytes: bytes.subarray(0, count), fds: descriptorsIn(control.subarray(0, Number(message.readBigUInt64LE(40)))) }
}

function descriptorsIn(control: Buffer): number[] {
  const fds: number[] = []
  const header = 16
  for (let offset = 0; offset + header <= control.length; ) {
    const length = Number(control.readBigUInt64LE(offset))
    if (length < header) break
    if (control.readInt32LE(offset + 8) === SOL_SOCKET && control.readInt32LE(offset + 12) === SCM_RIGHTS) {
      for (let at = offset + header; at + 4 <= offset + length; at += 4) fds.push(control.readInt32LE(at))
    }
    offset += Math.ceil(length / 8) * 8
  }
  return fds
}

/** Closes descriptors, those that are closed already included. */
export function closeAll(fds: Iterable<number>): void {
  for (const fd of fds) {
    try {
      closeSync(fd)
    } catch {
      // EBADF only: nothing is left to do.
    }
  }
}

/** True when somebody accepts connections on a unix socket. */
export function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
