import { randomUUID } from 'node:crypto'
import { type Any, packAny } from '@containerd-ts/api'
import { StreamInit } from '@containerd-ts/api/containerd/services/streaming/v1/streaming'
import { createByteSender, isCanceled, type MessageStream } from '@containerd-ts/interface'
import type { Containerd } from './connection.js'

/** A stream that the daemon can use while another call is under way, and by which name the other call tells of it. */
export interface OpenStream extends MessageStream {
  readonly id: string
}

/** Opens a stream; when this is settled the daemon knows it. It ends with `signal`, or when the daemon ends it. */
export async function openStream(containerd: Containerd, purpose: string, signal: AbortSignal): Promise<OpenStream> {
  const id = `${purpose}-${randomUUID()}`
  const waiting: Any[] = [packAny('containerd.services.streaming.v1.StreamInit', StreamInit, { id })]
  let ended = false
  let wake = () => {}
  async function* requests() {
    for (;;) {
      const next = waiting.shift()
      if (next !== undefined) yield next
      else if (ended) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  }
  const messages = containerd.streaming.stream(requests(), { signal })[Symbol.asyncIterator]()
  const ready = await messages.next()
  if (ready.done) throw new Error(`the daemon ended the stream ${id} at once`)
  return {
    id,
    async receive() {
      const step = await messages.next()
      return step.done ? undefined : step.value
    },
    async send(message) {
      waiting.push(message)
      wake()
    },
    close() {
      ended = true
      wake()
    },
  }
}

/** What the daemon sends, until it ends the stream; then, or when no more is wanted, it is closed. */
export async function* messagesOf(stream: MessageStream): AsyncGenerator<Any> {
  try {
    for (let message = await stream.receive(); message !== undefined; message = await stream.receive()) yield message
  } finally {
    stream.close()
  }
}

/** Sends bytes as fast as the daemon takes them; settled when all of it is on its way, or the daemon wants no more. */
export async function sendBytes(stream: MessageStream, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const sender = createByteSender(stream)
  try {
    for await (const piece of bytes) await sender.write(piece)
  } catch (error) {
    // Why it does not is told by the transfer.
    if (!isCanceled(error)) throw error
  } finally {
    stream.close()
  }
}
