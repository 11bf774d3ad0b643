import type { Any } from '@containerd-ts/api'
import type { Context } from './context.js'

/** A stream of messages between a client and whoever uses it in the daemon, both ways. */
export interface MessageStream {
  /** The next message of the client, undefined when there are no more. @throws Canceled when the client has gone away. */
  receive(): Promise<Any | undefined>
  /** Settled when the message is on its way, which is when the client is ready for it. @throws Canceled when the client has gone away. */
  send(message: Any): Promise<void>
  /** Ends the stream; the client sees its end. Closing twice is harmless. */
  close(): void
}

/** Streams that clients have opened for a later call to use, by namespace and name. */
export interface StreamManager {
  /** Makes a stream known until the result is called. @throws AlreadyExists */
  register(ctx: Context, name: string, stream: MessageStream): () => void
  /** @throws NotFound */
  get(ctx: Context, name: string): MessageStream
}
