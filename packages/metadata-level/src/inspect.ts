import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isErrno } from '@containerd-ts/interface'
import { type Level, openLevel, scanRecords } from '@containerd-ts/level-records'
import { ClassicLevel } from 'classic-level'
import type { Entry } from './database.js'
import { metadataDatabase } from './database-kind.js'
import { keyOfBytes, splitKey } from './key.js'
import { isVersionKey, layoutOf, migrate } from './migrations.js'
import { schemaVersion, type Table } from './tables.js'

/** What is in a database, as far as it can be read. */
export interface Inspection {
  /** Undefined when there is none that can be read. */
  readonly layout: number | undefined
  /** By table and id. */
  readonly entries: readonly { readonly table: Table<unknown>; readonly entry: Entry }[]
  /** What is wrong, in sentences. */
  readonly problems: readonly string[]
}

/**
 * Reads a database that nobody has open, however damaged it is, and leaves it alone: LevelDB writes even where one only reads, so it gets
 * a copy in a temporary directory.
 *
 * @throws an ENOENT error when there is no such directory, FailedPreconditionError when its layout is of a newer version.
 */
export async function inspectDatabase(path: string, tables: readonly Table<unknown>[]): Promise<Inspection> {
  const problems: string[] = []
  const asItIs = await onCopy(path, async (copy) => readRecords(await openLevel(copy, metadataDatabase), copy, tables)).catch(
    (error: unknown) => {
      if (isErrno(error, 'ENOENT') || (error instanceof Error && 'code' in error && error.code === 'FailedPrecondition'))
        throw error
      problems.push(`LevelDB cannot read it: ${reasonOf(error)}`)
      return undefined
    },
  )
  if (asItIs !== undefined) return asItIs
  const salvaged = await onCopy(path, async (copy) => {
    await ClassicLevel.repair(copy)
    return readRecords(await openLevel(copy, metadataDatabase), copy, tables)
  }).catch((error: unknown) => {
    problems.push(`nothing in it can be salvaged: ${reasonOf(error)}`)
    return { layout: undefined, entries: [], problems: [] }
  })
  return { ...salvaged, problems: [...problems, ...salvaged.problems] }
}

async function readRecords(level: Level, path: string, tables: readonly Table<unknown>[]): Promise<Inspection> {
  const byName = new Map(tables.map((table) => [table.name, table]))
  const entries: { table: Table<unknown>; entry: Entry }[] = []
  const problems: string[] = []
  const unreadable = (bytes: Buffer, reason: unknown) =>
    problems.push(`the record of ${splitKey(keyOfBytes(bytes)).join(' ')} cannot be read: ${reasonOf(reason)}`)
  try {
    const layout = await layoutOf(level)
    if (layout === undefined) problems.push('the number of its layout is missing')
    else if (layout !== schemaVersion) await migrate(level, path)
    const { problem } = await scanRecords(level, path, {
      isForeign: isVersionKey,
      onDamaged: unreadable,
      onRecord(bytes, payload, check) {
        const key = keyOfBytes(bytes)
        const [name = '', ...id] = splitKey(key)
        const table = byName.get(name)
        if (table === undefined) return
        try {
          entries.push({ table, entry: { key, id, record: table.decode(payload), check } })
        } catch (reason) {
          unreadable(bytes, reason)
        }
      },
    })
    if (problem !== undefined) problems.push(problem)
    return { layout, entries, problems }
  } finally {
    await level.close()
  }
}

/** Lets `work` have a copy of a database that is gone afterwards. */
async function onCopy<T>(path: string, work: (copy: string) => Promise<T>): Promise<T> {
  const names = await readdir(path)
  const copy = await mkdtemp(join(tmpdir(), 'containerd-metadata-'))
  try {
    for (const name of names) if (name !== 'LOCK' && name !== 'RESERVE') await copyFile(join(path, name), join(copy, name))
    return await work(copy)
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
