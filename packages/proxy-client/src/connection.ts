import { type CallOptions, type Client, createGrpcClient, type ServiceDefinition } from '@containerd-ts/api'
import { type Context, fromStatus, UnavailableError } from '@containerd-ts/interface'
import { credentials, Client as GrpcClient } from '@grpc/grpc-js'

const mebibyte = 1024 * 1024

/** A connection to a process that serves plugins. Made at the first call, and again when that process was restarted. */
export interface ProxyConnection {
  readonly address: string
  service<D extends ServiceDefinition>(definition: D): Client<D>
  /** Calls under way fail. */
  close(): void
}

/** Prepares a connection to the unix socket at `address`. While nobody serves there, calls fail with Unavailable. */
export function connectProxy(address: string): ProxyConnection {
  const client = new GrpcClient(`unix:${address}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 16 * mebibyte,
    'grpc.max_send_message_length': 16 * mebibyte,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 3000,
  })
  return {
    address,
    service: (definition) => createGrpcClient(definition, client),
    close: () => client.close(),
  }
}

/** What a call takes over from the one on behalf of which it is made: namespace, lease, cancellation. */
function callOptions(ctx: Context): CallOptions {
  const metadata = {
    ...(ctx.namespace !== '' && { 'containerd-namespace': ctx.namespace }),
    ...(ctx.lease !== undefined && { 'containerd-lease': ctx.lease }),
  }
  return { metadata, signal: ctx.signal }
}

/** The error that a failed call stands for; anything else as it is. */
function remoteError(error: unknown, ctx: Context): unknown {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'number') return error
  const details = 'details' in error && typeof error.details === 'string' ? error.details : error.message
  const translated = fromStatus({ code: error.code, message: details })
  // Nobody here has cancelled it: the other process has gone away.
  if (translated.code === 'Canceled' && !ctx.signal.aborted) return new UnavailableError(`the call was ended: ${details}`)
  return translated
}

/** Makes a unary call on behalf of `ctx`, with its errors translated. What is cancelled already is not even sent. */
export async function answer<T>(ctx: Context, call: (options: CallOptions) => Promise<T>): Promise<T> {
  ctx.signal.throwIfAborted()
  try {
    return await call(callOptions(ctx))
  } catch (error) {
    throw remoteError(error, ctx)
  }
}

/** Makes a streaming call on behalf of `ctx`, with its errors translated. What is cancelled already is not even sent. */
export async function* answers<T>(ctx: Context, call: (options: CallOptions) => AsyncIterable<T>): AsyncIterable<T> {
  ctx.signal.throwIfAborted()
  try {
    yield* call(callOptions(ctx))
  } catch (error) {
    throw remoteError(error, ctx)
  }
}
