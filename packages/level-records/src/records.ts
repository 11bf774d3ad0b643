import { isErrno } from '@containerd-ts/interface'
import { CommitMark } from './commit-mark.js'
import { type DatabaseKind, damaged, type Level, storedRecords } from './level.js'
import { unseal } from './seal.js'
import { type DatabaseState, decodeState, difference, emptyState, encodeState, replaced, stateKey } from './state.js'

/** A change of one record. */
export interface RecordWrite {
  readonly key: Buffer
  /** The sealed value; undefined to delete what is there. */
  readonly value: Uint8Array | undefined
  /** The checksum of what is there, undefined for nothing. */
  readonly before: number | undefined
  /** The checksum of what will be there. */
  readonly after: number | undefined
}

/** Writes a batch with the state that it leads to, and gives that back. */
export async function writeRecords(
  level: Level,
  state: DatabaseState,
  writes: Iterable<RecordWrite>,
  options: { sync: boolean },
): Promise<DatabaseState> {
  let next: DatabaseState = { ...state, commits: state.commits + 1 }
  const batch = level.batch()
  try {
    for (const { key, value, before, after } of writes) {
      next = replaced(next, before, after)
      if (value === undefined) batch.del(key)
      else batch.put(key, value)
    }
    await batch.put(stateKey, encodeState(next)).write(options)
    return next
  } finally {
    await batch.close()
  }
}

/** What hears of the records of a database. */
export interface RecordVisitor {
  /** True for keys that hold no record and have no checksum. */
  isForeign?(key: Buffer): boolean
  onRecord(key: Buffer, payload: Uint8Array, check: number): void
}

/**
 * Reads every record of an open database, and gives back what is missing or not the latest, in words; undefined when nothing is.
 * `onDamaged` hears of a record whose checksum does not match, and why.
 */
export async function scanRecords(
  level: Level,
  path: string,
  visitor: RecordVisitor & { onDamaged(key: Buffer, reason: unknown): void },
): Promise<{ state: DatabaseState; problem: string | undefined }> {
  let counted = emptyState
  let state = emptyState
  for await (const batch of storedRecords(level)) {
    for (const [key, value] of batch) {
      if (visitor.isForeign?.(key) === true) continue
      let record: ReturnType<typeof unseal>
      try {
        record = unseal(key, value)
      } catch (reason) {
        visitor.onDamaged(key, reason)
        continue
      }
      const { payload, check } = record
      if (key.equals(stateKey)) state = decodeState(payload)
      else {
        counted = replaced(counted, undefined, check)
        visitor.onRecord(key, payload, check)
      }
    }
  }
  return { state, problem: difference(counted, state, CommitMark.read(path)) }
}

/** Reads every record of an open database. @throws DataLossError when something is missing or not what was written */
export async function loadRecords(
  level: Level,
  path: string,
  kind: DatabaseKind,
  visitor: RecordVisitor,
): Promise<DatabaseState> {
  try {
    const { state, problem } = await scanRecords(level, path, {
      ...visitor,
      onDamaged(key, cause) {
        const name = key.toString('utf8').replaceAll('\0', ' ').trim()
        throw damaged(
          path,
          kind,
          `the record of ${name} cannot be read: ${cause instanceof Error ? cause.message : cause}`,
          cause,
        )
      },
    })
    if (problem !== undefined) throw damaged(path, kind, problem)
    return state
  } catch (error) {
    if (isErrno(error, 'LEVEL_CORRUPTION'))
      throw damaged(path, kind, error instanceof Error ? error.message : String(error), error)
    throw error
  }
}
