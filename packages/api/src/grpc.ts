import * as grpc from '@grpc/grpc-js'
import { type CallOptions, type Client, encodeMessage, type MethodDefinition, type ServiceDefinition } from './service.js'

function path(definition: ServiceDefinition, method: MethodDefinition): string {
  return `/${definition.fullName}/${method.name}`
}

/** The definition in the form that grpc-js servers and clients take. */
export function grpcServiceDefinition(definition: ServiceDefinition): grpc.ServiceDefinition {
  return Object.fromEntries(
    Object.entries(definition.methods).map(([key, method]) => [
      key,
      {
        path: path(definition, method),
        requestStream: method.requestStream,
        responseStream: method.responseStream,
        requestSerialize: (message: unknown) => encodeMessage(method.requestType, message),
        requestDeserialize: (bytes: Buffer) => method.requestType.decode(bytes),
        responseSerialize: (message: unknown) => encodeMessage(method.responseType, message),
        responseDeserialize: (bytes: Buffer) => method.responseType.decode(bytes),
      },
    ]),
  )
}

function callOptions(options: CallOptions): grpc.CallOptions {
  return options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs }
}

function metadataOf(options: CallOptions, defaults: Readonly<Record<string, string>>): grpc.Metadata {
  const metadata = new grpc.Metadata()
  for (const [key, value] of Object.entries({ ...defaults, ...options.metadata })) metadata.set(key, value)
  return metadata
}

function cancelWith(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  if (signal === undefined) return () => {}
  const abort = () => call.cancel()
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  return () => signal.removeEventListener('abort', abort)
}

async function* responses(
  call: grpc.ClientReadableStream<unknown> | grpc.ClientDuplexStream<unknown, unknown>,
  release: () => void,
) {
  try {
    yield* call
  } finally {
    release()
    // A consumer that stops early must not leave the stream open on the server.
    call.cancel()
  }
}

async function send(
  call: grpc.ClientWritableStream<unknown> | grpc.ClientDuplexStream<unknown, unknown>,
  messages: AsyncIterable<unknown>,
) {
  let over = false
  const ended = new Promise<void>((resolve) => {
    call.once('status', () => {
      over = true
      resolve()
    })
  })
  try {
    for await (const message of messages) {
      // The server has answered: whatever else there is to send is of no use, and where it comes from is somebody else's again.
      if (over) return
      if (!call.write(message)) await Promise.race([ended, new Promise<void>((resolve) => call.once('drain', resolve))])
      if (over) return
    }
    call.end()
  } catch (cause) {
    call.destroy(cause instanceof Error ? cause : new Error(String(cause)))
  }
}

/**
 * Typed calls of `definition` over a grpc-js connection. `metadata` is sent with every call, under what a call itself gives.
 *
 * Calls fail with grpc-js' `ServiceError`: `code` is the gRPC status, `details` the server's text.
 */
export function createGrpcClient<D extends ServiceDefinition>(
  definition: D,
  connection: grpc.Client,
  metadata: Readonly<Record<string, string>> = {},
): Client<D> {
  const calls = Object.entries(definition.methods).map(([key, method]) => {
    const name = path(definition, method)
    const encode = (message: unknown) => encodeMessage(method.requestType, method.requestType.fromPartial(message))
    const decode = (bytes: Buffer): unknown => method.responseType.decode(bytes)
    if (method.requestStream) {
      return [
        key,
        (messages: AsyncIterable<unknown>, options: CallOptions = {}) => {
          const call = connection.makeBidiStreamRequest(name, encode, decode, metadataOf(options, metadata), callOptions(options))
          const release = cancelWith(call, options.signal)
          void send(call, messages)
          return responses(call, release)
        },
      ]
    }
    if (method.responseStream) {
      return [
        key,
        (request: unknown, options: CallOptions = {}) => {
          const call = connection.makeServerStreamRequest(
            name,
            encode,
            decode,
            request,
            metadataOf(options, metadata),
            callOptions(options),
          )
          return responses(call, cancelWith(call, options.signal))
        },
      ]
    }
    return [
      key,
      (request: unknown, options: CallOptions = {}) =>
        new Promise((resolve, reject) => {
          let release = () => {}
          const call = connection.makeUnaryRequest(
            name,
            encode,
            decode,
            request,
            metadataOf(options, metadata),
            callOptions(options),
            (error, response) => {
              release()
              if (error) reject(error)
              else resolve(response)
            },
          )
          release = cancelWith(call, options.signal)
        }),
    ]
  })
  return Object.fromEntries(calls) as Client<D>
}
