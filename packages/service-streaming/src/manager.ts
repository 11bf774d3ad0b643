import {
  AlreadyExistsError,
  type Context,
  type MessageStream,
  NotFoundError,
  quote,
  type StreamManager,
} from '@containerd-ts/interface'

/** Streams by namespace and name, in memory: a stream lives as long as the call that carries it. */
export function createStreamManager(): StreamManager {
  const streams = new Map<string, MessageStream>()
  // A namespace has no slash.
  const keyOf = ({ namespace }: Context, name: string) => `${namespace}/${name}`
  return {
    register(ctx, name, stream) {
      const key = keyOf(ctx, name)
      if (streams.has(key)) throw new AlreadyExistsError(`stream ${quote(name)}`)
      streams.set(key, stream)
      return () => {
        if (streams.get(key) === stream) streams.delete(key)
      }
    },
    get(ctx, name) {
      const stream = streams.get(keyOf(ctx, name))
      if (stream === undefined) throw new NotFoundError(`stream ${quote(name)}`)
      return stream
    },
  }
}
