import { EncodedMessage, grpcServiceDefinition, type MethodDefinition } from '@containerd-ts/api'
import { type AnyHandler, type BoundService, type Context, StatusCode, toStatus } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type * as grpc from '@grpc/grpc-js'
import type { CallCounters, Counter, Started } from './counters.js'

interface AdapterOptions {
  log: Logger
  counters: CallCounters
}

type StreamCall = grpc.ServerWritableStream<unknown, unknown> | grpc.ServerDuplexStream<unknown, unknown>

/** What all kinds of calls have in common. */
interface Call {
  readonly cancelled: boolean
  readonly metadata: grpc.Metadata
  on(event: string, listener: () => void): unknown
}

/** Serves a bound service on a grpc-js server: one context a call, errors to statuses, streams at the receiver's pace. */
export function addService(server: grpc.Server, service: BoundService, options: AdapterOptions): void {
  const { definition, handlers } = service
  const implementation: grpc.UntypedServiceImplementation = {}
  for (const [key, method] of Object.entries(definition.methods)) {
    const handler = handlers[key]
    // grpc-js itself answers Unimplemented for what is left out.
    if (handler !== undefined) implementation[key] = adapt(definition.fullName, method, handler, options)
  }
  server.addService(grpcServiceDefinition(definition), implementation)
}

function adapt(service: string, method: MethodDefinition, handler: AnyHandler, options: AdapterOptions): grpc.UntypedHandleCall {
  const counter = options.counters.of(service, method)
  const fail = (error: unknown, started: Started): Partial<grpc.StatusObject> => {
    const status = toStatus(error)
    counter.handled(status.code, started)
    if (status.code === StatusCode.Unknown || status.code === StatusCode.Internal) {
      options.log.error('call failed', { method: `/${service}/${method.name}`, error })
    }
    return { code: status.code, details: status.message }
  }

  if (!method.responseStream && !method.requestStream) {
    return (call: grpc.ServerUnaryCall<unknown, unknown>, callback: grpc.sendUnaryData<unknown>) => {
      const started = counter.started()
      counter.received()
      const answer = (response: unknown) => {
        counter.sent()
        counter.handled(0, started)
        callback(null, response)
      }
      try {
        const result = handler(contextOf(call, options.log), call.request)
        if (isPromise(result)) result.then(answer, (error) => callback(fail(error, started)))
        else answer(result)
      } catch (error) {
        callback(fail(error, started))
      }
    }
  }
  return (call: StreamCall) => {
    const started = counter.started()
    if (!method.requestStream) counter.received()
    const request = method.requestStream
      ? requests(call as grpc.ServerDuplexStream<unknown, unknown>, counter)
      : (call as grpc.ServerWritableStream<unknown, unknown>).request
    sendAll(call, counter, () => handler(contextOf(call, options.log), request) as AsyncIterable<unknown>).then(
      () => {
        counter.handled(0, started)
        call.end()
      },
      // grpc-js turns an emitted error into the trailing status.
      (error) => call.emit('error', fail(error, started)),
    )
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value
}

async function* requests(call: grpc.ServerDuplexStream<unknown, unknown>, counter: Counter): AsyncIterable<unknown> {
  try {
    for await (const message of call.iterator({ destroyOnReturn: false })) {
      counter.received()
      yield message
    }
  } catch (error) {
    // A client that goes away shows as a premature close; the aborted signal tells it better.
    if (!call.cancelled) throw error
  }
}

async function sendAll(call: StreamCall, counter: Counter, responses: () => AsyncIterable<unknown>) {
  let sent: Promise<void> | undefined
  for await (const message of responses()) {
    await sent
    if (call.cancelled) return
    counter.sent()
    // Bulk data: while one message is on its way the next one is made, and no more than that.
    if (message instanceof EncodedMessage) sent = write(call, message)
    else if (!call.write(message)) await drained(call)
  }
  await sent
}

/** Settles when the message was handed to the kernel, or never will be. */
function write(call: StreamCall, message: EncodedMessage): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('cancelled', done)
      resolve()
    }
    call.once('cancelled', done)
    call.write(message, done)
  })
}

function drained(call: StreamCall): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('drain', done)
      call.off('cancelled', done)
      resolve()
    }
    call.once('drain', done)
    call.once('cancelled', done)
  })
}

/** The context of a call. Its signal is made when someone asks for it: most calls are over before they could be cancelled. */
function contextOf(call: Call, log: Logger): Context {
  let controller: AbortController | undefined
  const lease = firstValue(call.metadata, 'containerd-lease')
  return {
    namespace: firstValue(call.metadata, 'containerd-namespace') ?? '',
    ...(lease !== undefined && { lease }),
    get signal() {
      if (controller === undefined) {
        const created = new AbortController()
        controller = created
        if (call.cancelled) created.abort()
        else call.on('cancelled', () => created.abort())
      }
      return controller.signal
    },
    log,
  }
}

/** The first value of a header. Node joins repeated headers with commas; clients put the wanted one first. */
function firstValue(metadata: grpc.Metadata, key: string): string | undefined {
  const [value] = metadata.get(key)
  if (value === undefined) return undefined
  const joined = value.toString()
  const comma = joined.indexOf(',')
  const first = (comma < 0 ? joined : joined.slice(0, comma)).trim()
  return first === '' ? undefined : first
}
