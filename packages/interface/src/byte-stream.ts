import { packAny, typeName } from '@containerd-ts/api'
import { Data, WindowUpdate } from '@containerd-ts/api/containerd/types/transfer/transfer'
import { CanceledError } from './errors.js'
import type { MessageStream } from './streams.js'

const dataType = 'containerd.types.transfer.Data'
const windowType = 'containerd.types.transfer.WindowUpdate'
// How much the other side may send ahead of what is used here.
const windowBytes = 512 * 1024
// No message is larger, whatever the other side allows.
const pieceBytes = 256 * 1024

/** The bytes that the other side sends, as fast as they are used; the stream is closed when they are, or no more are wanted. */
export async function* receivedBytes(stream: MessageStream): AsyncGenerator<Uint8Array> {
  let window = 0
  try {
    for (;;) {
      if (window <= windowBytes / 2) {
        await stream.send(packAny(windowType, WindowUpdate, { update: windowBytes }))
        window += windowBytes
      }
      const message = await stream.receive()
      if (message === undefined) return
      if (typeName(message.typeUrl) !== dataType) continue
      const { data } = Data.decode(message.value)
      window -= data.length
      if (data.length > 0) yield data
    }
  } finally {
    stream.close()
  }
}

/** Sends bytes to the other side, as fast as it uses them. */
export interface ByteSender {
  /** Settled when all of it is on its way; one call after the other. @throws Canceled when the other side takes no more. */
  write(bytes: Uint8Array): Promise<void>
}

/** Sends over `stream`, which its owner closes. */
export function createByteSender(stream: MessageStream): ByteSender {
  let window = 0
  let gone: Error | undefined
  let wake = () => {}

  async function receiveWindow() {
    for (;;) {
      const message = await stream.receive()
      if (message === undefined) throw new CanceledError('the other side takes no more bytes')
      if (typeName(message.typeUrl) !== windowType) continue
      window += WindowUpdate.decode(message.value).update
      wake()
    }
  }
  receiveWindow().catch((error: Error) => {
    gone = error
    wake()
  })

  return {
    async write(bytes) {
      for (let sent = 0; sent < bytes.length; ) {
        if (window <= 0) {
          if (gone !== undefined) throw gone
          await new Promise<void>((resolve) => {
            wake = resolve
          })
          continue
        }
        const data = bytes.subarray(sent, sent + Math.min(window, pieceBytes))
        window -= data.length
        sent += data.length
        await stream.send(packAny(dataType, Data, { data }))
      }
    },
  }
}
