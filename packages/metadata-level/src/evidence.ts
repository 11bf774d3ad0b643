import type { Container, SnapshotInfo } from '@containerd-ts/interface'
import type { Entry } from './database.js'
import type { Inspection } from './inspect.js'
import { composeKey } from './key.js'
import {
  type ContentRecord,
  containers,
  contents,
  type ImageRecord,
  images,
  type SnapshotRecord,
  snapshots,
  type Table,
} from './tables.js'

/** What the stores have on disk, whatever the metadata says. */
export interface Evidence {
  /** Sizes by digest. */
  readonly blobs: ReadonlyMap<string, number>
  /** Blobs whose bytes are not what their digest says, where somebody has looked. */
  readonly altered: ReadonlySet<string>
  /** By snapshotter, under the names that the snapshots have there. */
  readonly snapshots: ReadonlyMap<string, readonly SnapshotInfo[]>
  /** The bytes of a small blob. */
  readBlob(digest: string): Promise<Buffer>
}

/** Something that a check has found. */
export interface Finding {
  /** `damage` needs a repair; a `note` may be as it should be. */
  readonly severity: 'damage' | 'note'
  readonly text: string
}

/** The records of a table in an inspection. */
export function recordsOf<R>({ entries }: Inspection, table: Table<R>): Entry<R>[] {
  return entries.filter((found) => found.table.name === table.name).map(({ entry }) => entry as Entry<R>)
}

/** Says why a blob is not what its record promises, undefined when it is. */
export function blobProblem(evidence: Evidence, digest: string, { sizeBytes }: ContentRecord): string | undefined {
  const size = evidence.blobs.get(digest)
  if (size === undefined) return 'is missing on disk'
  if (size !== sizeBytes) return `has ${size} bytes on disk, ${sizeBytes} are recorded`
  return evidence.altered.has(digest) ? 'was altered on disk: its bytes are not what the digest says' : undefined
}

/** Says why a snapshot is not what its record promises, undefined when it is, or when its snapshotter is not here. */
export function snapshotProblem(evidence: Evidence, snapshotter: string, { backend }: SnapshotRecord): string | undefined {
  const found = evidence.snapshots.get(snapshotter)
  if (found === undefined || found.some(({ name }) => name === backend)) return undefined
  return 'is missing on disk'
}

/** Compares what is recorded with what is there. */
export function compareWithEvidence(inspection: Inspection, evidence: Evidence): Finding[] {
  const damage = (text: string): Finding => ({ severity: 'damage', text })
  const note = (text: string): Finding => ({ severity: 'note', text })
  const findings = inspection.problems.map(damage)

  const known = new Set<string>()
  for (const { id, record } of recordsOf(inspection, contents)) {
    const [namespace = '', digest = ''] = id
    known.add(digest)
    const problem = blobProblem(evidence, digest, record)
    if (problem !== undefined) findings.push(damage(`content ${digest} of namespace ${namespace} ${problem}`))
  }
  const unnamed = [...evidence.blobs].filter(([digest]) => !known.has(digest))
  if (unnamed.length > 0) {
    const total = unnamed.reduce((sum, [, size]) => sum + size, 0)
    findings.push(note(`${unnamed.length} blobs with ${total} bytes have no name: the next collection removes them`))
  }

  const backends = new Map<string, Set<string>>()
  for (const { id, record } of recordsOf(inspection, snapshots)) {
    const [namespace = '', snapshotter = '', key = ''] = id
    backends.set(snapshotter, (backends.get(snapshotter) ?? new Set()).add(record.backend))
    const problem = snapshotProblem(evidence, snapshotter, record)
    if (problem !== undefined) findings.push(damage(`snapshot ${key} of ${snapshotter} in namespace ${namespace} ${problem}`))
  }
  for (const [snapshotter, infos] of evidence.snapshots) {
    const count = infos.filter(({ name }) => backends.get(snapshotter)?.has(name) !== true).length
    if (count > 0) findings.push(note(`${count} snapshots of ${snapshotter} have no name: the next collection removes them`))
  }

  const has = (table: Table<unknown>) => new Set(recordsOf(inspection, table).map(({ key }) => key))
  const [contentKeys, snapshotKeys] = [has(contents), has(snapshots)]
  for (const { id, record } of recordsOf<ImageRecord>(inspection, images)) {
    const [namespace = '', name = ''] = id
    if (!contentKeys.has(composeKey(contents.name, namespace, record.target.digest)))
      findings.push(note(`image ${name} of namespace ${namespace} points to ${record.target.digest}, which is not there`))
  }
  for (const { id, record } of recordsOf<Container>(inspection, containers)) {
    const [namespace = ''] = id
    const { snapshotter, snapshotKey } = record
    if (snapshotKey !== '' && !snapshotKeys.has(composeKey(snapshots.name, namespace, snapshotter, snapshotKey)))
      findings.push(note(`container ${record.id} of namespace ${namespace} has no snapshot ${snapshotKey} of ${snapshotter}`))
  }
  return findings
}
