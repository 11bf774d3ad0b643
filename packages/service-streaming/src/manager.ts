import { AlreadyExistsError, type MessageStream, NotFoundError, quote, type StreamManager } from '@containerd-ts/interface'

/** Streams by namespace and name, in memory: a stream lives as long as the call that carries it. */
export function createStreamManager(): StreamManager {
  const namespaces = new Map<string, Map<string, MessageStream>>()
  return {
    register({ namespace }, name, stream) {
      const streams = namespaces.get(namespace) ?? new Map<string, MessageStream>()
      if (streams.has(name)) throw new AlreadyExistsError(`stream ${quote(name)}`)
      streams.set(name, stream)
      namespaces.set(namespace, streams)
      return () => {
        if (streams.get(name) !== stream) return
        streams.delete(name)
        if (streams.size === 0 && namespaces.get(namespace) === streams) namespaces.delete(namespace)
      }
    },
    get({ namespace }, name) {
      const stream = namespaces.get(namespace)?.get(name)
      if (stream === undefined) throw new NotFoundError(`stream ${quote(name)}`)
      return stream
    },
  }
}
