import { type ClientHttp2Session, connect } from 'node:http2'
import { createConnection } from 'node:net'

const frameHeaderBytes = 5
// As a Go client has it once it has found out how fast the other side is.
const windowBytes = 4 << 20

/** gRPC without a library: bytes as they go over the wire, so that a client costs next to nothing. */
export interface RawGrpc {
  /** Sends framed messages; gives back the number of bytes of the answer. */
  call(path: string, namespace: string, body: Iterable<Buffer>): Promise<number>
  close(): void
}

export function connectRaw(address: string): RawGrpc {
  const session: ClientHttp2Session = connect('http://localhost', {
    createConnection: () => createConnection(address),
    settings: { initialWindowSize: windowBytes },
  })
  // Calls under way hear of it themselves.
  session.on('error', () => {})
  session.on('connect', () => session.setLocalWindowSize(windowBytes))
  return {
    call: (path, namespace, body) =>
      new Promise((resolve, reject) => {
        const stream = session.request({
          ':method': 'POST',
          ':path': path,
          'content-type': 'application/grpc',
          te: 'trailers',
          'containerd-namespace': namespace,
        })
        let received = 0
        let status = ''
        stream.on('trailers', (trailers) => {
          status = `${trailers['grpc-status']} ${trailers['grpc-message'] ?? ''}`
        })
        stream.on('response', (headers) => {
          if (headers['grpc-status'] !== undefined) status = `${headers['grpc-status']} ${headers['grpc-message'] ?? ''}`
        })
        stream.on('data', (chunk: Buffer) => {
          received += chunk.length
        })
        stream.on('error', reject)
        stream.on('close', () => (status.startsWith('0 ') ? resolve(received) : reject(new Error(`${path}: ${status}`))))
        const messages = body[Symbol.iterator]()
        const send = () => {
          for (let next = messages.next(); !next.done; next = messages.next())
            if (!stream.write(next.value)) {
              stream.once('drain', send)
              return
            }
          stream.end()
        }
        send()
      }),
    close: () => session.close(),
  }
}

/** A message as gRPC frames it. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(frameHeaderBytes + message.length)
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, frameHeaderBytes)
  return frame
}
