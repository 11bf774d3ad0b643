import type { Any, Timestamp } from '@containerd-ts/api'
import type { Context } from './context.js'

/** An event on its way: who said what when. */
export interface Envelope {
  timestamp: Timestamp
  namespace: string
  /** For instance `/tasks/exit`. */
  topic: string
  event: Any
}

/** Takes events from whoever makes them. */
export interface EventPublisher {
  /** Stamps with the context's namespace and the present time. @throws InvalidArgument for a malformed topic, FailedPrecondition without namespace. */
  publish(ctx: Context, topic: string, event: Any): Promise<void>
  /** Delivers an envelope made elsewhere. @throws InvalidArgument for a malformed namespace or topic. */
  forward(ctx: Context, envelope: Envelope): Promise<void>
}

/** Hands events of all namespaces from whoever publishes to whoever subscribed. */
export interface EventExchange extends EventPublisher {
  /**
   * Events that match any of `filters`, from this very call on and in order, until the context is aborted. Publishers never wait for
   * a subscriber.
   * @throws InvalidArgument, from the call itself, for a malformed filter.
   */
  subscribe(ctx: Context, filters: readonly string[]): AsyncIterable<Envelope>
}
