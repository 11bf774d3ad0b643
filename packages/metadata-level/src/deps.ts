import { type MessageType, packAny } from '@containerd-ts/api'
import { background, type Context, type EventPublisher, NotFoundError } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type { CommittedView, Transaction, UpdateOptions, View } from './database.js'
import type { Dirty } from './dirty.js'
import { leases, namespaces, resources } from './tables.js'

/** What the parts of the store share. */
export interface StoreDeps {
  /** What is committed. */
  readonly view: CommittedView
  readonly dirty: Dirty
  readonly log: Logger
  /** Runs a transaction and counts it as a mutation. */
  update<T>(transaction: (tx: Transaction) => T, options?: UpdateOptions): Promise<T>
  readonly publish: Publish
}

/** Announces what is committed already. */
export type Publish = <T>(ctx: Context, namespace: string, topic: string, event: EventType<T>, payload: T) => Promise<void>

/** A payload type with its full name. */
export interface EventType<T> {
  readonly name: string
  readonly type: MessageType<T>
}

export function publisher(events: EventPublisher): Publish {
  return (ctx, namespace, topic, event, payload) => {
    // The change has happened, whether or not the caller is still there.
    const source = ctx.namespace === namespace ? ctx : background(namespace, { log: ctx.log })
    return events.publish(source, topic, packAny(event.name, event.type, payload))
  }
}

/** A namespace is there once something was written to it. */
export function ensureNamespace(tx: Transaction, namespace: string): void {
  if (tx.get(namespaces, namespace) === undefined) tx.put(namespaces, [namespace], { labels: {} })
}

/** Fails when the context names a lease that is not there. @throws NotFoundError */
export function requireLease(view: View, ctx: Context, namespace: string): void {
  if (ctx.lease !== undefined && ctx.lease !== '' && view.get(leases, namespace, ctx.lease) === undefined) {
    throw new NotFoundError('lease does not exist')
  }
}

/** Lets the lease of the context, if there is one, keep an object. @throws NotFoundError when there is no such lease. */
export function attach(tx: Transaction, ctx: Context, namespace: string, type: string, id: string): void {
  if (ctx.lease === undefined || ctx.lease === '') return
  requireLease(tx, ctx, namespace)
  const place = [namespace, ctx.lease, type, id]
  if (tx.get(resources, ...place) === undefined) tx.put(resources, place, true)
}

/** Takes an object from the lease of the context; a lease that is not there has nothing to give up. */
export function detach(tx: Transaction, ctx: Context, namespace: string, type: string, id: string): void {
  if (ctx.lease === undefined || ctx.lease === '') return
  if (tx.get(resources, namespace, ctx.lease, type, id) !== undefined) tx.delete(resources, namespace, ctx.lease, type, id)
}
