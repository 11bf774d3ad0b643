/** Messages between the connection's reader and a consumer that has its own pace. */
export interface MessageQueue<T> extends AsyncIterable<T> {
  push(message: T): void
  /** No message comes any more; those queued are still delivered. */
  end(): void
  /** As `end`, after which the consumer gets the error. */
  fail(error: unknown): void
  readonly length: number
}

export interface MessageQueueEvents {
  /** Called when the consumer has taken a message. */
  onTaken?: () => void
  /** Called when the consumer stopped before the end. */
  onAbandoned?: () => void
}

export function createMessageQueue<T>(events: MessageQueueEvents = {}): MessageQueue<T> {
  const messages: T[] = []
  let ended = false
  let failure: { error: unknown } | undefined
  let wake = () => {}

  const iterate = async function* (): AsyncGenerator<T, void> {
    let finished = false
    try {
      for (;;) {
        const message = messages.shift()
        if (message !== undefined) {
          events.onTaken?.()
          yield message
        } else if (ended) {
          finished = true
          if (failure !== undefined) throw failure.error
          return
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
      }
    } finally {
      if (!finished) events.onAbandoned?.()
    }
  }

  return {
    push: (message) => {
      messages.push(message)
      wake()
    },
    end: () => {
      ended = true
      wake()
    },
    fail: (error) => {
      if (ended) return
      ended = true
      failure = { error }
      wake()
    },
    get length() {
      return messages.length
    },
    [Symbol.asyncIterator]: iterate,
  }
}
