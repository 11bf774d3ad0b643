import { isUnimplemented, UnimplementedError } from './errors.js'

/**
 * What the first of `candidates` makes of it that does not answer Unimplemented; any other failure is final.
 *
 * @throws UnimplementedError of the last one, or that there is no `what`.
 */
export async function firstThatCan<C, T>(
  what: string,
  candidates: readonly C[],
  operation: (candidate: C) => Promise<T>,
): Promise<T> {
  let refused: unknown = new UnimplementedError(`no ${what} is configured`)
  for (const candidate of candidates) {
    try {
      return await operation(candidate)
    } catch (error) {
      if (!isUnimplemented(error)) throw error
      refused = error
    }
  }
  throw refused
}
