import { DeadlineExceededError } from '@containerd-ts/interface'

/**
 * Gives an operation of a plugin so much time. Whatever it is still doing then, it is left alone with that.
 *
 * @throws DeadlineExceededError that names `what`
 */
export async function withDeadline<T>(what: string, ms: number, operation: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const running = operation()
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineExceededError(`${what} did not answer within ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([running, expired])
  } finally {
    clearTimeout(timer)
    // What comes of it later concerns nobody.
    running.catch(() => {})
  }
}
