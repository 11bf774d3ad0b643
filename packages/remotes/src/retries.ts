import type { Answer } from './exchange.js'
import { discard } from './send.js'
import { isTransient, TransportFailure } from './transport-failure.js'
import { pause } from './waiting.js'

const maxAttempts = 4
const firstWaitMs = 100
const maxWaitMs = 5_000

/** How patient to be with a host. */
export interface RetryOptions {
  /** There is nobody else to be asked: trouble of the connection or the server is waited for, not only a request to come later. */
  last: boolean
  signal: AbortSignal
}

/** Sends up to four times, with waits of 100 ms, 200 ms and so on in between, or as long as the server wants but 5 s at most. */
export async function withRetries<T extends Answer>(attempt: () => Promise<T>, { last, signal }: RetryOptions): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    let waitMs = firstWaitMs * 2 ** (attempts - 1)
    try {
      const answer = await attempt()
      if (attempts === maxAttempts || !isPassing(answer.status, last)) return answer
      waitMs = wantedWaitMs(answer) ?? waitMs
      await discard(answer)
    } catch (error) {
      if (attempts === maxAttempts || !last || !(error instanceof TransportFailure) || !isTransient(error)) throw error
    }
    await pause(waitMs, signal)
  }
}

function isPassing(status: number, last: boolean): boolean {
  if (status === 408 || status === 429) return true
  return last && (status === 500 || status === 502 || status === 503 || status === 504)
}

function wantedWaitMs(answer: Answer): number | undefined {
  const wanted = answer.headers['retry-after']
  if (wanted === undefined) return undefined
  const ms = /^\d+$/.test(wanted) ? Number(wanted) * 1000 : Date.parse(wanted) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), maxWaitMs)
}
