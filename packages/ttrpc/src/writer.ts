import type { Socket } from 'node:net'
import { frameChunks, maxPayload } from './frame.js'
import { tooLarge } from './status.js'

/**
 * Writes one frame. The frame is queued as a whole before this returns, so frames never mix.
 *
 * @returns false when the peer is slow and the sender of a stream should wait, see {@link drained}.
 * @throws TtrpcError ResourceExhausted beyond the largest payload; nothing is written then.
 */
export function writeFrame(socket: Socket, streamId: number, type: number, flags: number, payload: Uint8Array): boolean {
  if (payload.length > maxPayload) throw tooLarge(payload.length, maxPayload)
  if (socket.destroyed || !socket.writable) return true
  const [head, body] = frameChunks(streamId, type, flags, payload)
  if (body === undefined) return socket.write(head)
  socket.cork()
  socket.write(head)
  const flowing = socket.write(body)
  socket.uncork()
  return flowing
}

/** Settles when the socket takes more, or is closed. */
export function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.once('drain', done)
    socket.once('close', done)
    if (socket.destroyed) done()
  })
}
