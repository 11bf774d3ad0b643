import { FailedPreconditionError } from '@containerd-ts/interface'
import {
  checksum,
  type DatabaseState,
  damaged,
  emptyState,
  encodeState,
  type Level,
  replaced,
  seal,
  stateKey,
  storedRecords,
} from '@containerd-ts/level-records'
import { metadataDatabase } from './database-kind.js'
import { composeKey, keyBytes } from './key.js'
import { schemaVersion } from './tables.js'

type Operation = { type: 'put'; key: Buffer; value: Uint8Array } | { type: 'del'; key: Buffer }

/** What brings a database from one layout to the next. */
export type Migration = (level: Level) => Promise<Operation[]>

/** By the layout that they begin with. */
export const migrations: ReadonlyMap<number, Migration> = new Map([
  // Version 2 puts a checksum behind every value, and keeps count.
  [
    1,
    async (level) => {
      const sealed: Operation[] = []
      let state: DatabaseState = emptyState
      for await (const batch of storedRecords(level)) {
        for (const [key, value] of batch) {
          if (isVersionKey(key)) continue
          const check = checksum(key, value)
          state = replaced(state, undefined, check)
          sealed.push({ type: 'put', key, value: seal(value, check) })
        }
      }
      return [...sealed, { type: 'put', key: stateKey, value: encodeState(state) }]
    },
  ],
])

/** Where every layout, past and to come, has its number, as decimal digits and nothing else. */
const versionKey = keyBytes(composeKey('schema', 'version'))

/** The layout of a database, undefined when it is new. */
export async function layoutOf(level: Level): Promise<number | undefined> {
  const value = await level.get(versionKey)
  return value === undefined ? undefined : Number(Buffer.from(value).toString('latin1'))
}

/**
 * Brings a database to the present layout, step by step; each step is one batch, so that a crash leaves the one or the other.
 *
 * @throws FailedPreconditionError when it is of a newer version, and touches nothing.
 */
export async function migrate(
  level: Level,
  path: string,
  steps: ReadonlyMap<number, Migration> = migrations,
  target = schemaVersion,
): Promise<void> {
  const found = await layoutOf(level)
  if (found === undefined) {
    await level.put(versionKey, versionValue(target), { sync: true })
    return
  }
  if (!Number.isInteger(found)) throw damaged(path, metadataDatabase, 'the number of its layout cannot be read')
  if (found > target) {
    throw new FailedPreconditionError(
      `metadata database ${path} has layout ${found}, this daemon knows up to ${target}: it was written by a newer one`,
    )
  }
  for (let version = found; version < target; version++) {
    const step = steps.get(version)
    if (step === undefined) throw new TypeError(`no step leads from layout ${version}`)
    const operations = await step(level)
    await level.batch([...operations, { type: 'put', key: versionKey, value: versionValue(version + 1) }], { sync: true })
  }
}

function versionValue(version: number): Buffer {
  return Buffer.from(String(version), 'latin1')
}

/** True for the key of the layout's number, which has no checksum. */
export function isVersionKey(key: Buffer): boolean {
  return key.equals(versionKey)
}
