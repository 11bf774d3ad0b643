import { connect, type Socket } from 'node:net'
import { type CallOptions, type Client, encodeMessage, type MethodDefinition, type ServiceDefinition } from '@containerd-ts/api'
import { Request, Response } from '@containerd-ts/api/containerd/ttrpc/ttrpc'
import { createFrameReader, Flag, type Frame, FrameType, maxPayload } from './frame.js'
import { createMessageQueue } from './message-queue.js'
import { TtrpcClosedError, TtrpcError, tooLarge, ttrpcError } from './status.js'
import { drained, writeFrame } from './writer.js'

export interface TtrpcConnection {
  /** Typed calls of a service. `metadata` goes with every call, under what a call itself gives. Calls fail with {@link TtrpcError}. */
  client<D extends ServiceDefinition>(definition: D, metadata?: Readonly<Record<string, string>>): Client<D>
  /** Settles, never fails, when the connection is gone for whatever reason. */
  readonly closed: Promise<void>
  readonly isClosed: boolean
  /** Ends the connection; pending calls fail with {@link TtrpcClosedError}. */
  close(): void
  /** Whether the open connection keeps the process running; it does unless told otherwise. */
  unref(): void
}

export interface ConnectOptions {
  /** Default: no limit; connecting to a unix socket succeeds or fails at once unless its backlog is full. */
  timeoutMs?: number
}

/** Connects to a unix socket. @throws the system error, for instance ECONNREFUSED, or ETIMEDOUT. */
export function connectTtrpc(path: string, options: ConnectOptions = {}): Promise<TtrpcConnection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => socket.destroy(Object.assign(new Error(`connect ETIMEDOUT ${path}`), { code: 'ETIMEDOUT' })),
            options.timeoutMs,
          )
    socket.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.removeAllListeners('error')
      resolve(new Connection(socket))
    })
  })
}

/** Speaks ttrpc as a client over a connected socket. */
export function ttrpcOver(socket: Socket): TtrpcConnection {
  return new Connection(socket)
}

interface PendingCall {
  onResponse(payload: Buffer): void
  onData(frame: Frame): void
  onFailure(error: TtrpcError): void
}

// Beyond this many undelivered messages of one stream the connection is not read: ttrpc has no flow control of its own.
const highWater = 64

class Connection implements TtrpcConnection {
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #calls = new Map<number, PendingCall>()
  #nextId = 1

  constructor(socket: Socket) {
    this.#socket = socket
    const read = createFrameReader(
      (frame) => this.#receive(frame),
      (streamId, _type, length) => this.#settle(streamId)?.onFailure(tooLarge(length, maxPayload)),
    )
    socket.on('data', read)
    // 'close' follows and does the work.
    let cause: Error | undefined
    socket.on('error', (error) => {
      cause = error
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const id of [...this.#calls.keys()]) this.#settle(id)?.onFailure(new TtrpcClosedError('ttrpc: closed', { cause }))
        resolve()
      })
    })
  }

  get isClosed(): boolean {
    return this.#socket.destroyed || !this.#socket.writable
  }

  close(): void {
    this.#socket.destroy()
  }

  unref(): void {
    this.#socket.unref()
  }

  client<D extends ServiceDefinition>(definition: D, metadata: Readonly<Record<string, string>> = {}): Client<D> {
    const calls = Object.entries(definition.methods).map(([key, method]) => {
      const call: unknown = method.requestStream
        ? (messages: AsyncIterable<unknown>, options?: CallOptions) =>
            this.#upload(definition, method, messages, metadata, options)
        : method.responseStream
          ? (request: unknown, options?: CallOptions) => this.#download(definition, method, request, metadata, options)
          : (request: unknown, options?: CallOptions) => this.#unary(definition, method, request, metadata, options)
      return [key, call]
    })
    return Object.fromEntries(calls) as Client<D>
  }

  #receive(frame: Frame): void {
    if (frame.type === FrameType.Response) this.#settle(frame.streamId)?.onResponse(frame.payload)
    else if (frame.type === FrameType.Data) this.#calls.get(frame.streamId)?.onData(frame)
  }

  #settle(streamId: number): PendingCall | undefined {
    const call = this.#calls.get(streamId)
    this.#calls.delete(streamId)
    return call
  }

  // The id is taken and its request written in one step, as ids must arrive in increasing order.
  #open(
    service: ServiceDefinition,
    method: MethodDefinition,
    flags: number,
    payload: Uint8Array,
    metadata: Headers,
    call: PendingCall,
    options: CallOptions,
  ): number {
    if (options.signal?.aborted) throw canceled(options.signal)
    if (this.isClosed) throw new TtrpcClosedError()
    const request = Request.encode({
      service: service.fullName,
      method: method.name,
      payload,
      timeoutNano: options.timeoutMs === undefined ? 0n : BigInt(Math.max(1, Math.round(options.timeoutMs * 1e6))),
      metadata: Object.entries({ ...lowerCase(metadata), ...lowerCase(options.metadata ?? {}) }).map(([key, value]) => ({
        key,
        value,
      })),
    }).finish()
    const id = this.#nextId
    writeFrame(this.#socket, id, FrameType.Request, flags, request)
    this.#nextId += 2
    this.#calls.set(id, call)
    return id
  }

  #unary(
    service: ServiceDefinition,
    method: MethodDefinition,
    request: unknown,
    metadata: Headers,
    options: CallOptions = {},
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let release = () => {}
      const call: PendingCall = {
        onResponse: (payload) => {
          release()
          settleWith(method, payload, resolve, reject)
        },
        onData: () => {},
        onFailure: (error) => {
          release()
          reject(error)
        },
      }
      const id = this.#open(service, method, 0, encodePartial(method, request), metadata, call, options)
      release = this.#limit(id, options)
    })
  }

  #download(
    service: ServiceDefinition,
    method: MethodDefinition,
    request: unknown,
    metadata: Headers,
    options: CallOptions = {},
  ): AsyncIterable<unknown> {
    const stream = this.#incoming(method)
    try {
      const id = this.#open(service, method, Flag.RemoteClosed, encodePartial(method, request), metadata, stream.call, options)
      stream.opened(id, this.#limit(id, options))
    } catch (error) {
      stream.messages.fail(error)
    }
    return stream.messages
  }

  #upload(
    service: ServiceDefinition,
    method: MethodDefinition,
    messages: AsyncIterable<unknown>,
    metadata: Headers,
    options: CallOptions = {},
  ): AsyncIterable<unknown> | Promise<unknown> {
    const stream = this.#incoming(method)
    try {
      const id = this.#open(service, method, Flag.RemoteOpen, new Uint8Array(0), metadata, stream.call, options)
      stream.opened(id, this.#limit(id, options))
      void this.#send(id, method, messages)
    } catch (error) {
      stream.messages.fail(error)
    }
    return method.responseStream ? stream.messages : single(stream.messages)
  }

  #incoming(method: MethodDefinition) {
    let streamId = 0
    let release = () => {}
    const messages = createMessageQueue<unknown>({
      onTaken: () => {
        if (messages.length < highWater) this.#socket.resume()
      },
      onAbandoned: () => {
        release()
        this.#calls.delete(streamId)
        this.#socket.resume()
      },
    })
    const push = (payload: Buffer) => {
      try {
        messages.push(method.responseType.decode(payload))
      } catch (cause) {
        messages.fail(ttrpcError('Internal', `unmarshal response error: ${String(cause)}`, { cause }))
      }
      if (messages.length >= highWater) this.#socket.pause()
    }
    const call: PendingCall = {
      onResponse: (payload) => {
        release()
        settleWith(
          method,
          payload,
          (message) => {
            if (!method.responseStream) messages.push(message)
            messages.end()
          },
          (error) => messages.fail(error),
        )
      },
      onData: ({ flags, payload }) => {
        if ((flags & Flag.NoData) === 0) push(payload)
        if ((flags & Flag.RemoteClosed) === 0) return
        release()
        this.#calls.delete(streamId)
        messages.end()
      },
      onFailure: (error) => {
        release()
        messages.fail(error)
      },
    }
    const opened = (id: number, releaseLimits: () => void) => {
      streamId = id
      release = releaseLimits
    }
    return { call, messages, opened }
  }

  async #send(id: number, method: MethodDefinition, messages: AsyncIterable<unknown>): Promise<void> {
    try {
      for await (const message of messages) {
        if (!this.#calls.has(id)) return
        if (!writeFrame(this.#socket, id, FrameType.Data, 0, encodePartial(method, message))) await drained(this.#socket)
      }
      if (this.#calls.has(id)) writeFrame(this.#socket, id, FrameType.Data, Flag.RemoteClosed | Flag.NoData, new Uint8Array(0))
    } catch (cause) {
      this.#settle(id)?.onFailure(cause instanceof TtrpcError ? cause : ttrpcError('Unknown', String(cause), { cause }))
    }
  }

  // ttrpc cannot tell the server of a cancellation; the call is forgotten here and its late answer is ignored.
  #limit(id: number, { signal, timeoutMs }: CallOptions): () => void {
    const fail = (error: TtrpcError) => this.#settle(id)?.onFailure(error)
    const onAbort = () => fail(canceled(signal))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => fail(ttrpcError('DeadlineExceeded', 'context deadline exceeded')), timeoutMs)
    return () => {
      signal?.removeEventListener('abort', onAbort)
      clearTimeout(timer)
    }
  }
}

type Headers = Readonly<Record<string, string>>

function lowerCase(headers: Headers): Headers {
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]))
}

function encodePartial(method: MethodDefinition, request: unknown): Buffer {
  return encodeMessage(method.requestType, method.requestType.fromPartial(request))
}

function settleWith(
  method: MethodDefinition,
  payload: Buffer,
  resolve: (message: unknown) => void,
  reject: (error: TtrpcError) => void,
): void {
  try {
    const response = Response.decode(payload)
    const { status } = response
    if (status !== undefined && status.code !== 0) reject(new TtrpcError({ code: status.code, message: status.message }))
    else resolve(method.responseType.decode(response.payload))
  } catch (cause) {
    reject(ttrpcError('Internal', `unmarshal response error: ${String(cause)}`, { cause }))
  }
}

async function single(messages: AsyncIterable<unknown>): Promise<unknown> {
  for await (const message of messages) return message
  throw new TtrpcClosedError('ttrpc: stream closed')
}

function canceled(signal: AbortSignal | undefined): TtrpcError {
  const reason: unknown = signal?.reason
  const timedOut = reason instanceof Error && reason.name === 'TimeoutError'
  return timedOut ? ttrpcError('DeadlineExceeded', 'context deadline exceeded') : ttrpcError('Canceled', 'context canceled')
}
