import type { Handlers, ServiceDefinition } from '@containerd-ts/api'
import type { Context } from './context.js'

/** A service ready to be served, over gRPC or ttrpc. Made by {@link bindService}. */
export interface BoundService {
  readonly definition: ServiceDefinition
  readonly handlers: Readonly<Record<string, AnyHandler | undefined>>
}

/** A handler whose message types its definition knows. */
// biome-ignore lint/suspicious/noExplicitAny: paired with its definition by `bindService`, which checks the types.
export type AnyHandler = (ctx: Context, request: any) => Promise<unknown> | AsyncIterable<unknown>

/** What a plugin of type `io.containerd.grpc.v1` or `io.containerd.ttrpc.v1` gives back. */
export interface ServicePlugin {
  readonly services: readonly BoundService[]
  /** Services of the same kind that also want to be reachable over TCP say so. */
  readonly tcp?: boolean
  close?(): Promise<void>
}

/** Pairs a service definition with handlers of matching types. */
export function bindService<D extends ServiceDefinition>(
  definition: D,
  handlers: Handlers<D, Context, keyof D['methods']>,
): BoundService {
  return { definition, handlers: handlers as BoundService['handlers'] }
}
