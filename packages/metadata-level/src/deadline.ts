import { DeadlineExceededError } from '@containerd-ts/interface'

/**
 * Gives an operation of a plugin so much time. Its signal is aborted when that is over; whoever does not listen to it is left alone.
 *
 * @throws DeadlineExceededError that names `what`
 */
export async function withDeadline<T>(what: string, ms: number, operation: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const running = operation(controller.signal)
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new DeadlineExceededError(`${what} did not answer within ${ms / 1000} s`))
      controller.abort()
    }, ms)
  })
  try {
    return await Promise.race([running, expired])
  } finally {
    clearTimeout(timer)
    // What comes of it later concerns nobody.
    running.catch(() => {})
  }
}
