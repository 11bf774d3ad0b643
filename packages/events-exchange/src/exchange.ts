import { now } from '@containerd-ts/api'
import { type FieldAdaptor, type Matcher, parseFilters } from '@containerd-ts/filters'
import {
  type Context,
  type Envelope,
  type EventExchange,
  InvalidArgumentError,
  ResourceExhaustedError,
  requireNamespace,
  validateIdentifier,
} from '@containerd-ts/interface'
import { eventFields } from './fields.js'
import { Queue } from './queue.js'
import { validateTopic } from './topic.js'

/** How an exchange treats its subscribers. */
export interface ExchangeOptions {
  /** How far a subscriber may fall behind before it is cut off. Default 65,536 events. */
  queueLimit?: number
}

export interface Exchange extends EventExchange {
  /** Ends every subscription. */
  close(): Promise<void>
}

/** An exchange in memory: events reach the subscribers that are there when they are published, and nobody else. */
export function createExchange(options: ExchangeOptions = {}): Exchange {
  const limit = options.queueLimit ?? 65_536
  const subscriptions = new Set<Subscription>()

  const deliver = (envelope: Envelope): void => {
    const field = envelopeFields(envelope)
    for (const subscription of subscriptions) if (subscription.matches(field)) subscription.push(envelope)
  }

  return {
    async publish(ctx, topic, event) {
      const namespace = requireNamespace(ctx)
      validateTopic(topic)
      deliver({ timestamp: now(), namespace, topic, event })
    },
    async forward(_ctx, envelope) {
      if (envelope.namespace === '')
        throw new InvalidArgumentError('event envelope has invalid namespace: identifier must not be empty')
      validateIdentifier(envelope.namespace, 'event envelope has invalid namespace')
      validateTopic(envelope.topic)
      deliver(envelope)
    },
    subscribe(ctx, filters) {
      const subscription = new Subscription(ctx, parseFilters(filters), limit, () => subscriptions.delete(subscription))
      subscriptions.add(subscription)
      return subscription
    },
    async close() {
      for (const subscription of subscriptions) subscription.end()
    },
  }
}

/** The fields of an envelope that filters see; the payload is decoded when the first filter asks for it. */
function envelopeFields(envelope: Envelope): FieldAdaptor {
  let event: FieldAdaptor | undefined
  return ([field, ...rest]) => {
    switch (field) {
      case 'namespace':
        return envelope.namespace || undefined
      case 'topic':
        return envelope.topic || undefined
      case 'event':
        event ??= eventFields(envelope.event)
        return event(rest)
      default:
        return undefined
    }
  }
}

/** One subscriber: a queue that is filled from the moment of subscribing, whether or not anyone reads yet. */
class Subscription implements AsyncIterableIterator<Envelope> {
  readonly #queue = new Queue<Envelope>()
  readonly #abort = () => this.end()
  #waiting: ((result: IteratorResult<Envelope>) => void) | undefined
  #failure: Error | undefined
  #ended = false

  constructor(
    readonly ctx: Context,
    readonly matches: Matcher,
    readonly limit: number,
    readonly unsubscribe: () => void,
  ) {
    if (ctx.signal.aborted) this.#ended = true
    else ctx.signal.addEventListener('abort', this.#abort, { once: true })
  }

  push(envelope: Envelope): void {
    if (this.#ended) return
    if (this.#waiting !== undefined) {
      const resolve = this.#waiting
      this.#waiting = undefined
      resolve({ done: false, value: envelope })
    } else if (this.#queue.length < this.limit) {
      this.#queue.push(envelope)
    } else {
      this.#failure = new ResourceExhaustedError(`event subscriber fell more than ${this.limit} events behind`)
      this.ctx.log.warn('event subscriber is too slow and is cut off', { limit: this.limit })
      this.#stop()
    }
  }

  /** Ends quietly: what is queued is dropped, as the subscriber is gone. */
  end(): void {
    this.#queue.clear()
    this.#stop()
  }

  #stop(): void {
    if (!this.#ended) this.ctx.signal.removeEventListener('abort', this.#abort)
    this.#ended = true
    this.unsubscribe()
    this.#waiting?.({ done: true, value: undefined })
    this.#waiting = undefined
  }

  async next(): Promise<IteratorResult<Envelope>> {
    const envelope = this.#queue.shift()
    if (envelope !== undefined) return { done: false, value: envelope }
    if (this.#failure !== undefined) {
      const failure = this.#failure
      this.#failure = undefined
      throw failure
    }
    if (this.#ended) return { done: true, value: undefined }
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  async return(): Promise<IteratorResult<Envelope>> {
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
