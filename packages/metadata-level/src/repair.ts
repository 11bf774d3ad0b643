import { existsSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Database } from './database.js'
import type { Evidence } from './evidence.js'
import type { Inspection } from './inspect.js'
import { type Rebuilt, rebuild } from './rebuild.js'
import { schema, tables } from './tables.js'

/** What a repair goes by. */
export interface RepairOptions {
  /** Where blobs go of which nothing says where they belong. */
  namespace: string
}

/** What a repair has done. */
export interface Repair extends Pick<Rebuilt, 'added' | 'lost'> {
  /** Where the old database is kept. */
  readonly keptAt: string
  /** Records in the new one. */
  readonly records: number
}

// A transaction of this size holds the loop for a moment only.
const recordsAtOnce = 500

/**
 * Puts a database in the place of a damaged one, which is renamed and kept. After a crash in the middle of that `finishRepair` goes on.
 *
 * @throws UnavailableError when the disk refuses; the old database is in its place then.
 */
export async function repairDatabase(
  path: string,
  inspection: Inspection,
  evidence: Evidence,
  options: RepairOptions,
): Promise<Repair> {
  const { records, added, lost } = await rebuild(inspection, evidence, options.namespace)
  const fresh = freshPath(path)
  await rm(fresh, { recursive: true, force: true })
  const database = await Database.open(fresh, { sync: true }, [schema, ...tables])
  try {
    for (let at = 0; at < records.length; at += recordsAtOnce) {
      await database.update((tx) => {
        for (const { table, id, record } of records.slice(at, at + recordsAtOnce)) tx.put(table, id, record)
      })
    }
  } finally {
    await database.close()
  }
  const keptAt = `${path}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`
  await rename(path, keptAt)
  await rename(fresh, path)
  await syncDirectory(dirname(path))
  return { keptAt, records: records.length, added, lost }
}

/** Ends a repair that was interrupted when the old database had its new name already. */
export async function finishRepair(path: string): Promise<void> {
  if (existsSync(path) || !existsSync(freshPath(path))) return
  await rename(freshPath(path), path)
  await syncDirectory(dirname(path))
}

function freshPath(path: string): string {
  return `${path}.repaired`
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
