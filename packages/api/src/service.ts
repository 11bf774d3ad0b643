import type { BinaryWriter } from '@bufbuild/protobuf/wire'

/** The generated codec of one message. */
export interface MessageType<T = unknown, Partial = unknown> {
  encode(message: T, writer?: BinaryWriter): BinaryWriter
  decode(input: Uint8Array, length?: number): T
  fromPartial(object: Partial): T
}

/** One method as the generated service definitions describe it. */
export interface MethodDefinition {
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: codecs are invariant in their message type; the mapped types below restore it.
  readonly requestType: MessageType<any, any>
  readonly requestStream: boolean
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  readonly responseType: MessageType<any, any>
  readonly responseStream: boolean
}

/** A service of gRPC or ttrpc; the same definition serves both transports. */
export interface ServiceDefinition {
  readonly name: string
  readonly fullName: string
  readonly methods: Readonly<Record<string, MethodDefinition>>
}

type Message<T> = T extends { decode(...args: never[]): infer M } ? M : never
type Input<T> = T extends { fromPartial(object: infer P): unknown } ? P : never

/** What a handler of method `M` receives. */
export type RequestOf<M extends MethodDefinition> = M['requestStream'] extends true
  ? AsyncIterable<Message<M['requestType']>>
  : Message<M['requestType']>

/** What a handler of method `M` gives back: a promise, or an iterable whose pace is the receiver's. */
export type ResponseOf<M extends MethodDefinition> = M['responseStream'] extends true
  ? AsyncIterable<Message<M['responseType']>>
  : Promise<Message<M['responseType']>>

/** What a handler of a streaming method `M` gives back that may have encoded its messages already. */
type EncodedResponseOf<M extends MethodDefinition> = M['responseStream'] extends true
  ? AsyncIterable<Message<M['responseType']> | EncodedMessage>
  : ResponseOf<M>

/**
 * The implementation of a service, independent of the transport. `C` is the context that the server makes of each call.
 * A method left out is answered `Unimplemented`. Those of `E` may give back encoded messages.
 */
export type Handlers<D extends ServiceDefinition, C, E extends keyof D['methods'] = never> = {
  readonly [K in keyof D['methods']]?: (
    ctx: C,
    request: RequestOf<D['methods'][K]>,
  ) => K extends E ? EncodedResponseOf<D['methods'][K]> : ResponseOf<D['methods'][K]>
}

/** How a call is made. */
export interface CallOptions {
  /** Cancels the call; the server sees the cancellation. */
  signal?: AbortSignal
  /** Headers, for instance `containerd-namespace`. */
  metadata?: Readonly<Record<string, string>>
  /** The call fails with DeadlineExceeded after this time. Default: no limit. */
  timeoutMs?: number
}

type ClientRequest<M extends MethodDefinition> = M['requestStream'] extends true
  ? AsyncIterable<Input<M['requestType']>>
  : Input<M['requestType']>

/** Calls of a service, typed by its definition; requests may leave out fields that have their zero value. */
export type Client<D extends ServiceDefinition> = {
  readonly [K in keyof D['methods']]: (
    request: ClientRequest<D['methods'][K]>,
    options?: CallOptions,
  ) => ResponseOf<D['methods'][K]>
}

/**
 * A message of a stream that its handler has encoded itself, to save bulk data a copy. The bytes are the handler's again when the stream
 * asks for the message after the next one.
 */
export class EncodedMessage {
  constructor(readonly bytes: Buffer) {}
}

/** Encodes without copying the result again. */
export function encodeMessage<T>(type: MessageType<T>, message: T | EncodedMessage): Buffer {
  if (message instanceof EncodedMessage) return message.bytes
  const bytes = type.encode(message).finish()
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
