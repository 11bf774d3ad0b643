import type { Any } from '@containerd-ts/api'
import { CanceledError } from '@containerd-ts/interface'

/** Messages that are handed over one by one, to whoever iterates. */
export interface Outbox {
  /** Settled when the message was taken. @throws Canceled when it never will be. */
  send(message: Any): Promise<void>
  /** No more messages; those that wait are still handed over. */
  close(): void
  messages(): AsyncIterable<Any>
}

interface Waiting {
  message: Any
  taken(): void
  refused(error: Error): void
}

/** `signal` ends it at once, with messages that wait refused. */
export function createOutbox(signal: AbortSignal): Outbox {
  const waiting: Waiting[] = []
  let closed = false
  let wake = () => {}
  const gone = () => new CanceledError('the stream is closed')

  function end() {
    closed = true
    for (const { refused } of waiting.splice(0)) refused(gone())
    wake()
  }

  return {
    send(message) {
      if (closed || signal.aborted) return Promise.reject(gone())
      return new Promise((taken, refused) => {
        waiting.push({ message, taken, refused })
        wake()
      })
    },
    close() {
      closed = true
      wake()
    },
    async *messages() {
      signal.addEventListener('abort', end, { once: true })
      try {
        while (!signal.aborted) {
          const next = waiting.shift()
          if (next !== undefined) {
            yield next.message
            next.taken()
          } else if (closed) {
            return
          } else {
            await new Promise<void>((resolve) => {
              wake = resolve
            })
          }
        }
      } finally {
        signal.removeEventListener('abort', end)
        end()
      }
    },
  }
}
