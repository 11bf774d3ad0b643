/** For the person with a broken node: what is in a database that no daemon has open, what is wrong with it, and a new one in its place. */
import { type Inspection, inspectDatabase } from './inspect.js'
import { schema, tables } from './tables.js'

export { compareWithEvidence, type Evidence, type Finding } from './evidence.js'
export type { Inspection } from './inspect.js'
export { type Repair, type RepairOptions, repairDatabase } from './repair.js'

/** Reads a metadata database without changing it. @throws FailedPreconditionError when a newer version wrote it, ENOENT */
export function inspectMetadata(path: string): Promise<Inspection> {
  return inspectDatabase(path, [schema, ...tables])
}
