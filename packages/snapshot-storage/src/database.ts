import { existsSync } from 'node:fs'
import { UnavailableError } from '@containerd-ts/interface'
import {
  CommitMark,
  checksum,
  type DatabaseKind,
  type DatabaseState,
  emptyState,
  type Level,
  loadRecords,
  openLevel,
  type RecordWrite,
  seal,
  stateKey,
  storedRecords,
  writeRecords,
} from '@containerd-ts/level-records'

export type Operation = { type: 'put'; key: string; value: string } | { type: 'del'; key: string }

interface Pending {
  operations: readonly Operation[]
  undo: () => void
  resolve: () => void
  reject: (error: unknown) => void
}

/** A LevelDB whose concurrent writers share synced batches. */
export interface Database {
  entries(): Iterable<[string, string]>
  /**
   * Settles when the operations are on disk. `undo` is called, latest first, when they cannot be written: whatever the caller has
   * changed in memory by then must not stay.
   */
  write(operations: readonly Operation[], undo: () => void): Promise<void>
  close(): Promise<void>
}

const kind: DatabaseKind = {
  name: 'snapshot database',
  advice: 'put a copy from a backup in its place, or move the directory above it away to begin without snapshots',
}

/** What is under a key. */
interface StoredRecord {
  readonly value: string
  readonly check: number
}

interface Opened {
  readonly level: Level
  readonly records: Map<string, StoredRecord>
  readonly state: DatabaseState
}

/**
 * Opens the database in a directory of its own, making it where missing.
 *
 * @throws DataLossError when something in it was lost or altered, UnavailableError when another process has it open or the disk refuses
 */
export async function openDatabase(directory: string): Promise<Database> {
  let { level, records, state } = await openRecords(directory)
  const mark = CommitMark.open(directory)
  mark.write(state.commits)
  let pending: Pending[] = []
  let flushing: Promise<void> | undefined
  // After a failed write it is unknown what reached the disk.
  let doubtful = false

  async function apply(operations: readonly Operation[]): Promise<void> {
    const last = new Map(operations.map((operation) => [operation.key, operation]))
    state = await writeRecords(level, state, recordWrites(last.values(), records), { sync: true })
    mark.write(state.commits)
    for (const operation of last.values()) {
      if (operation.type === 'del') records.delete(operation.key)
      else records.set(operation.key, recordOf(operation))
    }
  }

  /**
   * Makes the disk what it is known to be. LevelDB would go on writing behind a record that is there in part, and not find what is there
   * when it is opened the next time; opening it now makes it begin a new log.
   */
  async function reconcile(): Promise<void> {
    await level.close()
    const known = records
    const found = await openRecords(directory)
    level = found.level
    state = found.state
    records = found.records
    const extra = [...found.records.keys()].filter((key) => !known.has(key))
    const missing = [...known].filter(([key, { check }]) => found.records.get(key)?.check !== check)
    const operations: Operation[] = [
      ...extra.map((key) => ({ type: 'del' as const, key })),
      ...missing.map(([key, { value }]) => ({ type: 'put' as const, key, value })),
    ]
    try {
      if (operations.length > 0) await apply(operations)
      doubtful = false
    } finally {
      records = known
    }
  }

  async function flush(): Promise<void> {
    // One turn of the loop lets writers of the same moment share a batch.
    await Promise.resolve()
    while (pending.length > 0) {
      const group = pending
      pending = []
      try {
        if (doubtful) await reconcile()
        await apply(group.flatMap(({ operations }) => operations))
        for (const { resolve } of group) resolve()
      } catch (error) {
        doubtful = true
        // Later writers may have built on what failed: all that is not on disk goes.
        const lost = [...group, ...pending]
        pending = []
        for (const { undo } of [...lost].reverse()) undo()
        const reason = new UnavailableError(`cannot write snapshot database: ${error instanceof Error ? error.message : error}`, {
          cause: error,
        })
        for (const { reject } of lost) reject(reason)
      }
    }
    flushing = undefined
  }

  return {
    *entries() {
      for (const [key, { value }] of records) yield [key, value]
    },
    write: (operations, undo) =>
      new Promise((resolve, reject) => {
        pending.push({ operations, undo, resolve, reject })
        flushing ??= flush()
      }),
    async close() {
      await flushing
      await level.close()
      mark.close()
    },
  }
}

async function openRecords(directory: string): Promise<Opened> {
  const level = await openLevel(directory, kind)
  try {
    // Before 0.2 the records had no checksums, and there was no mark.
    if (!existsSync(CommitMark.path(directory))) await sealRecords(level)
    const records = new Map<string, StoredRecord>()
    const state = await loadRecords(level, directory, kind, {
      onRecord: (key, payload, check) => {
        records.set(key.toString(), { value: Buffer.from(payload).toString(), check })
      },
    })
    return { level, records, state }
  } catch (error) {
    await level.close()
    throw error
  }
}

/** Gives every record a checksum, in one batch. */
async function sealRecords(level: Level): Promise<void> {
  const writes: RecordWrite[] = []
  for await (const batch of storedRecords(level)) {
    for (const [key, value] of batch) {
      // A crash between this and the first mark.
      if (key.equals(stateKey)) return
      const check = checksum(key, value)
      writes.push({ key, value: seal(value, check), before: undefined, after: check })
    }
  }
  if (writes.length > 0) await writeRecords(level, emptyState, writes, { sync: true })
}

function recordOf({ key, value }: { key: string; value: string }): StoredRecord {
  return { value, check: checksum(Buffer.from(key), Buffer.from(value)) }
}

function* recordWrites(operations: Iterable<Operation>, records: ReadonlyMap<string, StoredRecord>): Iterable<RecordWrite> {
  for (const operation of operations) {
    const key = Buffer.from(operation.key)
    const before = records.get(operation.key)?.check
    if (operation.type === 'del') yield { key, value: undefined, before, after: undefined }
    else {
      const { check } = recordOf(operation)
      yield { key, value: seal(Buffer.from(operation.value), check), before, after: check }
    }
  }
}
