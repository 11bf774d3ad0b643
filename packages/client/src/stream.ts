import { randomUUID } from 'node:crypto'
import { type Any, packAny, typeName } from '@containerd-ts/api'
import { StreamInit } from '@containerd-ts/api/containerd/services/streaming/v1/streaming'
import { Data, WindowUpdate } from '@containerd-ts/api/containerd/types/transfer/transfer'
import type { Containerd } from './connection.js'

/** A stream that the daemon can use while another call is under way. */
export interface OpenStream {
  /** By which the other call names it. */
  readonly id: string
  send(message: Any): void
  /** What the daemon sends, until it ends the stream. */
  readonly messages: AsyncIterable<Any>
  /** No more will be sent. */
  end(): void
}

const dataType = 'containerd.types.transfer.Data'
const windowType = 'containerd.types.transfer.WindowUpdate'
const windowBytes = 1024 * 1024
const pieceBytes = 256 * 1024

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
  const end = () => {
    ended = true
    wake()
  }
  const ready = await messages.next()
  if (ready.done) throw new Error(`the daemon ended the stream ${id} at once`)
  return {
    id,
    end,
    send(message) {
      waiting.push(message)
      wake()
    },
    messages: (async function* () {
      try {
        for (let step = await messages.next(); !step.done; step = await messages.next()) yield step.value
      } finally {
        end()
      }
    })(),
  }
}

/** Sends bytes as fast as the daemon takes them; settled when it has them all, or wants no more. */
export async function sendBytes(stream: OpenStream, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const messages = stream.messages[Symbol.asyncIterator]()
  let window = 0
  try {
    for await (const chunk of bytes) {
      for (let sent = 0; sent < chunk.length; ) {
        if (window <= 0) {
          const step = await messages.next()
          if (step.done) return
          if (typeName(step.value.typeUrl) === windowType) window += WindowUpdate.decode(step.value.value).update
          continue
        }
        const data = chunk.subarray(sent, sent + Math.min(window, pieceBytes))
        sent += data.length
        window -= data.length
        stream.send(packAny(dataType, Data, { data }))
      }
    }
  } finally {
    stream.end()
  }
  // The rest of what it says is of no interest, but its end is.
  while (!(await messages.next()).done);
}

/** The bytes that the daemon sends, at the pace at which they are taken. */
export async function* receivedBytes(stream: OpenStream): AsyncGenerator<Uint8Array> {
  let window = 0
  const allowMore = () => {
    if (window > windowBytes / 2) return
    stream.send(packAny(windowType, WindowUpdate, { update: windowBytes }))
    window += windowBytes
  }
  allowMore()
  for await (const { typeUrl, value } of stream.messages) {
    if (typeName(typeUrl) !== dataType) continue
    const { data } = Data.decode(value)
    yield data
    window -= data.length
    allowMore()
  }
}
