import assert from 'node:assert/strict'
import { compareTimestamps, now, type Timestamp } from '@containerd-ts/api'
import { type ErrorCode, errorCode } from '@containerd-ts/interface'

/** Fails unless the operation fails with an error of that class, which it gives back. */
export async function failsWith(code: ErrorCode, operation: () => Promise<unknown>): Promise<Error> {
  let result: unknown
  try {
    result = await operation()
  } catch (error) {
    assert.equal(errorCode(error), code, `expected ${code}, got ${error}`)
    assert.ok(error instanceof Error)
    return error
  }
  return assert.fail(`expected ${code}, got the result ${JSON.stringify(result)}`)
}

/** Fails unless what the operation stamps lies between its begin and its end. */
export async function stampedWithin<T>(operation: () => Promise<T>, stamps: (result: T) => readonly Timestamp[]): Promise<T> {
  const before = now()
  const result = await operation()
  const after = now()
  for (const stamp of stamps(result)) {
    assert.ok(
      compareTimestamps(before, stamp) <= 0 && compareTimestamps(stamp, after) <= 0,
      `${show(stamp)} is not within ${show(before)} and ${show(after)}`,
    )
  }
  return result
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const item of items) collected.push(item)
  return collected
}

function show({ seconds, nanos }: Timestamp): string {
  return `${seconds}.${String(nanos).padStart(9, '0')}`
}
