import { createServer, Server, type Socket } from 'node:net'
import { encodeMessage, type MethodDefinition, type ServiceDefinition } from '@containerd-ts/api'
import { Request, Response } from '@containerd-ts/api/containerd/ttrpc/ttrpc'
import { createFrameReader, Flag, type Frame, FrameType, maxPayload } from './frame.js'
import { createMessageQueue, type MessageQueue } from './message-queue.js'
import { codeNumber, type Status, statusOf, type TtrpcError, tooLarge, ttrpcError } from './status.js'
import { drained, writeFrame } from './writer.js'

/** Headers of a call; keys are lower case and may repeat. */
export type Metadata = ReadonlyMap<string, readonly string[]>

/** A handler whose message types its definition knows. */
export type TtrpcHandler<C> = (ctx: C, request: never) => Promise<unknown> | AsyncIterable<unknown>

/** A service and its handlers. */
export interface TtrpcService<C> {
  readonly definition: ServiceDefinition
  /** By the key of the method in the definition. A method without a handler is Unimplemented. */
  readonly handlers: Readonly<Record<string, TtrpcHandler<C> | undefined>>
}

/** What is served, and to whom. */
export interface ServeOptions<C> {
  services: readonly TtrpcService<C>[]
  /** Makes what handlers get as their first argument. `signal` is aborted at the call's timeout and when the client goes away. */
  context(metadata: Metadata, signal: AbortSignal): C
  /** Default: by the error's canonical `code`, see `statusOf`. */
  toStatus?: (error: unknown) => Status
  /** Asked once per connection, before anything is read; false closes it. Default: everybody may. */
  verifyPeer?: (socket: Socket) => boolean
  /** Hears how many connections are open, whenever that changes. */
  onConnections?: (count: number) => void
}

/** A server of ttrpc. */
export interface TtrpcServer {
  readonly server: Server
  /** Stops accepting, closes idle connections, waits for running calls and then closes theirs. */
  close(): Promise<void>
  /** Closes everything now; running calls are aborted and not answered. */
  destroy(): void
}

/**
 * Serves over a `net.Server`, listening or not yet, or listens on a path.
 *
 * Errors of handlers reach only their caller; errors of connections only end those.
 */
export async function serveTtrpc<C>(where: Server | { path: string }, options: ServeOptions<C>): Promise<TtrpcServer> {
  const server = where instanceof Server ? where : createServer()
  const methods = methodTable(options.services)
  const connections = new Set<ServerConnection<C>>()
  let closing = false

  server.on('connection', (socket: Socket) => {
    if (closing || !accepts(socket, options.verifyPeer)) {
      socket.destroy()
      return
    }
    const connection = new ServerConnection(socket, methods, options)
    connections.add(connection)
    options.onConnections?.(connections.size)
    socket.once('close', () => {
      connections.delete(connection)
      options.onConnections?.(connections.size)
    })
  })
  if (!(where instanceof Server)) {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(where.path, () => {
        server.off('error', reject)
        resolve()
      })
    })
  }

  return {
    server,
    close: async () => {
      closing = true
      const stopped = new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
      for (const connection of connections) connection.finish()
      await stopped
    },
    destroy: () => {
      closing = true
      server.close()
      for (const connection of connections) connection.destroy()
    },
  }
}

function accepts(socket: Socket, verify: ((socket: Socket) => boolean) | undefined): boolean {
  try {
    return verify?.(socket) !== false
  } catch {
    // Gone before it could be asked who it is.
    return false
  }
}

interface Target<C> {
  method: MethodDefinition
  handler: TtrpcHandler<C>
}

function methodTable<C>(services: readonly TtrpcService<C>[]): ReadonlyMap<string, ReadonlyMap<string, Target<C>>> {
  return new Map(
    services.map(({ definition, handlers }) => [
      definition.fullName,
      new Map(
        Object.entries(definition.methods).flatMap(([key, method]) => {
          const handler = handlers[key]
          return handler === undefined ? [] : [[method.name, { method, handler }] as const]
        }),
      ),
    ]),
  )
}

/** A call under way. */
interface Call {
  readonly abort: AbortController
  timer: NodeJS.Timeout | undefined
  /** Messages from a client that streams. */
  incoming?: { method: MethodDefinition; messages: MessageQueue<unknown>; closed: boolean }
}

const nothing = new Uint8Array(0)
// Beyond this many undelivered messages of one stream the connection is not read: ttrpc has no flow control of its own.
const highWater = 64

class ServerConnection<C> {
  readonly #socket: Socket
  readonly #methods: ReadonlyMap<string, ReadonlyMap<string, Target<C>>>
  readonly #options: ServeOptions<C>
  readonly #calls = new Map<number, Call>()
  #lastId = 0
  #finishing = false

  constructor(socket: Socket, methods: ReadonlyMap<string, ReadonlyMap<string, Target<C>>>, options: ServeOptions<C>) {
    this.#socket = socket
    this.#methods = methods
    this.#options = options
    const read = createFrameReader(
      (frame) => this.#receive(frame),
      (streamId, type, length) => this.#oversize(streamId, type, length),
    )
    socket.on('data', read)
    // 'close' follows and does the work.
    socket.on('error', () => {})
    socket.once('close', () => {
      for (const id of [...this.#calls.keys()]) this.#forget(id)?.abort.abort()
    })
  }

  /** Closes now when idle, otherwise after the last answer. */
  finish(): void {
    this.#finishing = true
    if (this.#calls.size === 0) this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #receive(frame: Frame): void {
    if (frame.type === FrameType.Request) this.#request(frame)
    else if (frame.type === FrameType.Data) this.#data(frame)
  }

  #acceptId(streamId: number): boolean {
    if (streamId % 2 === 0) {
      this.#refuse(streamId, ttrpcError('InvalidArgument', 'StreamID must be odd for client initiated streams'))
      return false
    }
    if (streamId <= this.#lastId) {
      this.#refuse(streamId, ttrpcError('InvalidArgument', 'StreamID cannot be re-used and must increment'))
      return false
    }
    this.#lastId = streamId
    return true
  }

  #request({ streamId, flags, payload }: Frame): void {
    if (!this.#acceptId(streamId)) return
    let request: Request
    try {
      request = Request.decode(payload)
    } catch (cause) {
      this.#refuse(streamId, ttrpcError('InvalidArgument', `unmarshal request error: ${String(cause)}`, { cause }))
      return
    }
    const service = this.#methods.get(request.service)
    const target = service?.get(request.method)
    if (target === undefined) {
      const what = service === undefined ? `service ${request.service}` : `method ${request.method}`
      this.#refuse(streamId, ttrpcError('Unimplemented', what))
      return
    }
    void this.#run(streamId, flags, request, target)
  }

  async #run(streamId: number, flags: number, request: Request, { method, handler }: Target<C>): Promise<void> {
    const call: Call = { abort: new AbortController(), timer: undefined }
    this.#calls.set(streamId, call)
    try {
      const input: unknown = method.requestStream
        ? this.#incoming(call, method, flags, request.payload)
        : decodeRequest(method, request.payload)
      this.#startTimer(streamId, call, request.timeoutNano)
      const ctx = this.#options.context(metadataOf(request), call.abort.signal)
      const result = handler(ctx, input as never)
      if (method.responseStream) {
        await this.#sendAll(streamId, call, method, result as AsyncIterable<unknown>)
      } else {
        this.#answer(streamId, {
          status: undefined,
          payload: encodeMessage(method.responseType, await (result as Promise<unknown>)),
        })
      }
    } catch (error) {
      this.#fail(streamId, error)
    }
  }

  async #sendAll(streamId: number, call: Call, method: MethodDefinition, messages: AsyncIterable<unknown>): Promise<void> {
    for await (const message of messages) {
      if (this.#calls.get(streamId) !== call) return
      const payload = encodeMessage(method.responseType, message)
      if (!writeFrame(this.#socket, streamId, FrameType.Data, 0, payload)) await drained(this.#socket)
    }
    if (this.#forget(streamId) === undefined) return
    writeFrame(this.#socket, streamId, FrameType.Data, Flag.RemoteClosed | Flag.NoData, nothing)
    this.#closeIfDone()
  }

  #incoming(call: Call, method: MethodDefinition, flags: number, first: Uint8Array): AsyncIterable<unknown> {
    const messages = createMessageQueue<unknown>({
      onTaken: () => {
        if (messages.length < highWater) this.#socket.resume()
      },
      onAbandoned: () => this.#socket.resume(),
    })
    call.incoming = { method, messages, closed: false }
    if (first.length > 0) messages.push(decodeRequest(method, first))
    if ((flags & Flag.RemoteOpen) === 0) {
      call.incoming.closed = true
      messages.end()
    }
    return messages
  }

  #data({ streamId, flags, payload }: Frame): void {
    const incoming = this.#calls.get(streamId)?.incoming
    if (incoming === undefined || incoming.closed) {
      this.#refuse(streamId, ttrpcError('InvalidArgument', 'StreamID is no longer active'))
      return
    }
    const last = (flags & Flag.RemoteClosed) !== 0
    if (last && payload.length > 0) {
      this.#fail(streamId, ttrpcError('InvalidArgument', 'data close message cannot include data'))
      incoming.messages.end()
      return
    }
    if ((flags & Flag.NoData) === 0 && !last) {
      try {
        incoming.messages.push(decodeRequest(incoming.method, payload))
      } catch (error) {
        incoming.messages.fail(error)
      }
      if (incoming.messages.length >= highWater) this.#socket.pause()
    }
    if (!last) return
    incoming.closed = true
    incoming.messages.end()
  }

  #oversize(streamId: number, type: number, length: number): void {
    if (type === FrameType.Request) {
      if (this.#acceptId(streamId)) this.#refuse(streamId, tooLarge(length, maxPayload))
    } else if (type === FrameType.Data) this.#fail(streamId, tooLarge(length, maxPayload))
  }

  #startTimer(streamId: number, call: Call, timeoutNano: bigint): void {
    if (timeoutNano <= 0n) return
    const ms = Number(timeoutNano / 1_000_000n)
    // Beyond what a timer can count the limit means nothing.
    if (ms > 0x7fff_ffff) return
    call.timer = setTimeout(() => {
      const error = ttrpcError('DeadlineExceeded', 'context deadline exceeded')
      call.abort.abort(new DOMException(error.message, 'TimeoutError'))
      this.#fail(streamId, error)
    }, ms)
  }

  #forget(streamId: number): Call | undefined {
    const call = this.#calls.get(streamId)
    if (call === undefined) return undefined
    this.#calls.delete(streamId)
    clearTimeout(call.timer)
    call.incoming?.messages.fail(ttrpcError('Canceled', 'context canceled'))
    return call
  }

  /** Answers a running call that failed; a call that was answered already is left alone. */
  #fail(streamId: number, error: unknown): void {
    this.#answer(streamId, { status: { ...this.#statusOf(error), details: [] }, payload: nothing })
  }

  #statusOf(error: unknown): Status {
    const status = (this.#options.toStatus ?? statusOf)(error)
    return status.code === 0 ? { code: codeNumber('Unknown'), message: status.message } : status
  }

  #answer(streamId: number, response: Response): void {
    if (this.#forget(streamId) === undefined) return
    try {
      writeFrame(this.#socket, streamId, FrameType.Response, 0, Response.encode(response).finish())
    } catch (error) {
      this.#refuse(streamId, error as TtrpcError)
    }
    this.#closeIfDone()
  }

  /** Answers what is no call of this connection. */
  #refuse(streamId: number, error: TtrpcError): void {
    const response = { status: { ...error.status, details: [] }, payload: nothing }
    writeFrame(this.#socket, streamId, FrameType.Response, 0, Response.encode(response).finish())
  }

  #closeIfDone(): void {
    if (this.#finishing && this.#calls.size === 0) this.#socket.end()
  }
}

function decodeRequest(method: MethodDefinition, payload: Uint8Array): unknown {
  try {
    return method.requestType.decode(payload)
  } catch (cause) {
    throw ttrpcError('InvalidArgument', `unmarshal request error: ${String(cause)}`, { cause })
  }
}

function metadataOf(request: Request): Metadata {
  const metadata = new Map<string, string[]>()
  for (const { key, value } of request.metadata) {
    const name = key.toLowerCase()
    const values = metadata.get(name)
    if (values === undefined) metadata.set(name, [value])
    else values.push(value)
  }
  return metadata
}
