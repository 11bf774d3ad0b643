import { checksum, seal } from './seal.js'

/** What is said of all records together: with this nothing is lost, brought back or altered without being noticed. */
export interface DatabaseState {
  /** Batches written so far. */
  readonly commits: number
  readonly records: number
  /** The sum of the records' checksums, modulo 2^32. */
  readonly sum: number
}

/** The state of a database without records. */
export const emptyState: DatabaseState = { commits: 0, records: 0, sum: 0 }

/** Where the state is kept among the records, of which it is not one. */
export const stateKey = Buffer.from('schema\0state\0', 'latin1')

/** A state as it is stored. */
export function encodeState(state: DatabaseState): Buffer {
  const payload = Buffer.from(JSON.stringify(state))
  return seal(payload, checksum(stateKey, payload))
}

/** A stored state. */
export function decodeState(payload: Uint8Array): DatabaseState {
  return JSON.parse(Buffer.from(payload).toString()) as DatabaseState
}

/** The state when a record with one checksum has taken the place of one with another; undefined stands for no record. */
export function replaced(state: DatabaseState, before: number | undefined, after: number | undefined): DatabaseState {
  return {
    commits: state.commits,
    records: state.records + (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1),
    sum: (state.sum + (after ?? 0) - (before ?? 0)) >>> 0,
  }
}

/** What is wrong with records of which this is the found state, in words; undefined when nothing is. */
export function difference(found: DatabaseState, expected: DatabaseState, acknowledged: number): string | undefined {
  if (expected.commits < acknowledged) {
    const lost = acknowledged - expected.commits
    return `its latest ${lost === 1 ? 'batch of changes is' : `${lost} batches of changes are`} missing`
  }
  if (found.records !== expected.records) return `it has ${found.records} records of ${expected.records}`
  return found.sum === expected.sum ? undefined : 'some of its records are not the latest ones'
}
