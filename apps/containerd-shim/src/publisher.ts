import { setTimeout as sleep } from 'node:timers/promises'
import { type MessageType, now, packAny } from '@containerd-ts/api'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/ttrpc/v1/events'
import type { Envelope } from '@containerd-ts/api/containerd/types/event'
import { isErrno } from '@containerd-ts/linux'
import { connectTtrpc, isTtrpcClosed, type TtrpcConnection } from '@containerd-ts/ttrpc'
import type { Log } from './log.js'

/** Tells containerd what happened, in order, one event after the other. */
export interface Publisher {
  publish<T>(topic: string, typeUrl: string, type: MessageType<T>, event: T): void
  /** How many events are waiting. */
  readonly waiting: number
  /** Settles when everything is delivered or dropped, at the latest after `limitMs`. */
  flush(limitMs: number): Promise<void>
  close(): void
}

export interface PublisherDeps {
  /** containerd's ttrpc socket; without one, events are dropped. */
  address: string
  namespace: string
  log: Log
}

const queueLimit = 2048
const callTimeoutMs = 5000
// What containerd refuses is tried so often; while it is away, events wait for it.
const retries = 5
const maxPauseMs = 1000

export function createPublisher({ address, namespace, log }: PublisherDeps): Publisher {
  const queue: Envelope[] = []
  const stop = new AbortController()
  let connection: TtrpcConnection | undefined
  let working = Promise.resolve()
  let busy = false

  const forward = async (envelope: Envelope): Promise<void> => {
    if (connection === undefined || connection.isClosed) connection = await connectTtrpc(address, { timeoutMs: callTimeoutMs })
    const client = connection.client(EventsDefinition, { 'containerd-namespace-ttrpc': namespace })
    await client.forward({ envelope }, { timeoutMs: callTimeoutMs })
  }

  const deliver = async (envelope: Envelope): Promise<void> => {
    for (let attempt = 0; ; attempt++) {
      try {
        try {
          return await forward(envelope)
        } catch (error) {
          // containerd may have been restarted since: once more, over a new connection.
          if (!isTtrpcClosed(error)) throw error
          return await forward(envelope)
        }
      } catch (error) {
        if ((attempt >= retries && !isAway(error)) || stop.signal.aborted) {
          log('error', 'event dropped', { topic: envelope.topic, error })
          return
        }
        const pauseMs = Math.min(50 * 2 ** attempt, maxPauseMs)
        await sleep(pauseMs, undefined, { signal: stop.signal }).catch(() => {})
      }
    }
  }

  const isAway = (error: unknown) =>
    isTtrpcClosed(error) || ['ECONNREFUSED', 'ENOENT', 'EAGAIN', 'ETIMEDOUT'].some((code) => isErrno(error, code))

  const work = async (): Promise<void> => {
    for (let envelope = queue.shift(); envelope !== undefined; envelope = queue.shift()) await deliver(envelope)
    busy = false
  }

  return {
    publish: (topic, typeUrl, type, event) => {
      if (address === '') return
      if (queue.length >= queueLimit) {
        log('error', 'event dropped: too many are waiting', { topic })
        return
      }
      queue.push({ timestamp: now(), namespace, topic, event: packAny(typeUrl, type, event) })
      if (busy) return
      busy = true
      working = work()
    },
    get waiting() {
      return queue.length
    },
    flush: async (limitMs) => {
      const limit = AbortSignal.timeout(limitMs)
      await Promise.race([working, new Promise((resolve) => limit.addEventListener('abort', resolve))])
    },
    close: () => {
      stop.abort()
      connection?.close()
    },
  }
}
