import { type Any, typeName } from '@containerd-ts/api'
import { StreamInit, StreamingDefinition } from '@containerd-ts/api/containerd/services/streaming/v1/streaming'
import {
  type BoundService,
  bindService,
  CanceledError,
  type Context,
  InvalidArgumentError,
  type MessageStream,
  quote,
  type StreamManager,
} from '@containerd-ts/interface'
import { createOutbox } from './outbox.js'

/** What a Streaming service serves. */
export interface StreamingServiceOptions {
  manager: StreamManager
  /** Called before each operation; throws when the call may not be served. */
  authorize?: (ctx: Context) => void
}

const initType = 'containerd.services.streaming.v1.StreamInit'
// Tells the client that the stream may now be named in another call.
const ready: Any = { typeUrl: 'google.protobuf.Empty', value: new Uint8Array(0) }

/** Streams of clients as the gRPC service `containerd.services.streaming.v1.Streaming`. */
export function streamingServiceOf({ manager, authorize = () => {} }: StreamingServiceOptions): BoundService {
  return bindService(StreamingDefinition, {
    async *stream(ctx, requests) {
      authorize(ctx)
      const iterator = requests[Symbol.asyncIterator]()
      const name = nameOf(await iterator.next())
      const outbox = createOutbox(ctx.signal)
      const stream: MessageStream = {
        async receive() {
          const step = await iterator.next()
          if (ctx.signal.aborted) throw new CanceledError(`stream ${quote(name)}: the client has gone away`)
          return step.done ? undefined : step.value
        },
        send: (message) => outbox.send(message),
        close: () => outbox.close(),
      }
      const forget = manager.register(ctx, name, stream)
      try {
        yield ready
        yield* outbox.messages()
      } finally {
        forget()
      }
    },
  })
}

function nameOf(step: IteratorResult<Any>): string {
  if (step.done) throw new InvalidArgumentError('a stream begins with its name')
  const { typeUrl, value } = step.value
  if (typeName(typeUrl) !== initType)
    throw new InvalidArgumentError(`a stream begins with a ${initType}, not with ${quote(typeUrl)}`)
  const { id } = StreamInit.decode(value)
  if (id === '') throw new InvalidArgumentError('a stream must have a name')
  return id
}
