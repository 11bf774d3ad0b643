import type { CallOptions } from '@containerd-ts/api'
import { type Context, UnavailableError } from '@containerd-ts/interface'
import { answers } from './connection.js'

/** A streaming call in which every message is answered once before the next one is sent. */
export interface Conversation<Q, A> {
  /** @throws what the call failed with. */
  ask(question: Q): Promise<A>
  /** Ends the call and waits until the other side has ended it, too; never throws. */
  end(): Promise<void>
}

/** Holds a conversation over a bidirectional call on behalf of `ctx`. */
export function converse<Q, A>(
  ctx: Context,
  call: (questions: AsyncIterable<Q>, options: CallOptions) => AsyncIterable<A>,
): Conversation<Q, A> {
  let wake = () => {}
  const queue: Q[] = []
  let ended = false

  async function* questions(): AsyncIterable<Q> {
    for (;;) {
      const next = queue.shift()
      if (next !== undefined) yield next
      else if (ended) return
      else
        await new Promise<void>((resolve) => {
          wake = resolve
        })
    }
  }
  const finish = () => {
    ended = true
    wake()
  }

  const replies = answers(ctx, (options) => call(questions(), options))[Symbol.asyncIterator]()
  return {
    async ask(question) {
      if (ended) throw new UnavailableError('the call has ended')
      queue.push(question)
      wake()
      try {
        const { value, done } = await replies.next()
        if (done !== true) return value
        throw new UnavailableError('the other side ended the call')
      } catch (error) {
        finish()
        throw error
      }
    },
    async end() {
      finish()
      try {
        while ((await replies.next()).done !== true);
      } catch {
        // It has ended, and how is known from the last answer.
      }
    },
  }
}
