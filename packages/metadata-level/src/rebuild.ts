import { createHash } from 'node:crypto'
import { now, type Timestamp, timestampMs } from '@containerd-ts/api'
import type { Labels, SnapshotInfo } from '@containerd-ts/interface'
import type { Entry } from './database.js'
import { blobProblem, type Evidence, recordsOf, snapshotProblem } from './evidence.js'
import type { Inspection } from './inspect.js'
import { composeKey } from './key.js'
import { type ParsedBlob, parseManifest } from './parsed-blob.js'
import {
  type ContentRecord,
  contents,
  type ImageRecord,
  images,
  namespaces,
  type SnapshotRecord,
  schema,
  snapshots,
  type Table,
} from './tables.js'

/** A record of the repaired database. */
export interface RebuiltRecord {
  readonly table: Table<unknown>
  readonly id: readonly string[]
  readonly record: unknown
}

export interface Rebuilt {
  readonly records: readonly RebuiltRecord[]
  /** How many records of each kind the stores have proved, of those that were missing. */
  readonly added: { namespaces: number; content: number; images: number; snapshots: number }
  /** What had to be left out, in sentences. */
  readonly lost: readonly string[]
}

const rootLabel = 'containerd.io/gc.root'
// Manifests are small; whatever is larger is a layer.
const largestManifestBytes = 4 << 20

/**
 * What a database must have been: the records that can be read, without those that the stores contradict, and with what the stores prove.
 *
 * A snapshot has its namespace, key and parent in its name and records of the snapshotter. A blob belongs to the namespaces that have the
 * snapshots of its image, or else to `fallbackNamespace`; manifests tell which blobs keep which. What nothing would keep gets a label that
 * keeps it, and an image whose name is lost is called `recovered@<digest>`.
 */
export async function rebuild(inspection: Inspection, evidence: Evidence, fallbackNamespace: string): Promise<Rebuilt> {
  const lost: string[] = []
  const stamp = now()
  const kept = inspection.entries.filter(({ table, entry }) => {
    const [namespace = '', second = '', third = ''] = entry.id
    if (table === contents) {
      const problem = blobProblem(evidence, second, entry.record as ContentRecord)
      if (problem !== undefined) lost.push(`content ${second} of namespace ${namespace} ${problem}`)
      return problem === undefined
    }
    if (table === snapshots) {
      const problem = snapshotProblem(evidence, second, entry.record as SnapshotRecord)
      if (problem !== undefined) lost.push(`snapshot ${third} of ${second} in namespace ${namespace} ${problem}`)
      return problem === undefined
    }
    return true
  })
  const sound: Inspection = { ...inspection, entries: kept }
  const records: RebuiltRecord[] = kept
    .filter(({ table }) => table !== schema)
    .map(({ table, entry: { id, record } }) => ({ table, id, record }))

  const lostSnapshots = missingSnapshots(sound, evidence)
  const allSnapshots = [...recordsOf(sound, snapshots).map(({ id, record }) => ({ id, record })), ...lostSnapshots]
  const content = await missingContent(sound, evidence, allSnapshots, fallbackNamespace, stamp)
  records.push(
    ...withRoots(lostSnapshots, content, stamp).map(({ id, record }) => ({ table: snapshots, id, record })),
    ...content.contents.map(({ id, record }) => ({ table: contents, id, record })),
    ...content.images.map(({ id, record }) => ({ table: images, id, record })),
  )

  const named = new Set(recordsOf(sound, namespaces).map(({ id: [name = ''] }) => name))
  const unnamed = new Set(
    records.filter(({ table, id }) => table !== namespaces && !named.has(id[0] ?? '')).map(({ id }) => id[0] ?? ''),
  )
  for (const name of unnamed) records.push({ table: namespaces, id: [name], record: { labels: {} } })
  records.push({ table: schema, id: ['sequence'], record: nextNumber(sound, evidence) })
  return {
    records,
    added: {
      namespaces: unnamed.size,
      content: content.contents.length,
      images: content.images.length,
      snapshots: lostSnapshots.length,
    },
    lost,
  }
}

interface Placed<R> {
  readonly id: readonly string[]
  readonly record: R
}

const backendName = /^([^/]+)\/(\d+)\/(.+)$/s

/** Snapshots that no record names, from their names in the snapshotter: `<namespace>/<number>/<key>`. */
function missingSnapshots(sound: Inspection, evidence: Evidence): Placed<SnapshotRecord>[] {
  const recorded = recordsOf(sound, snapshots)
  const taken = new Set(recorded.map(({ key }) => key))
  const found: Placed<SnapshotRecord>[] = []
  for (const [snapshotter, infos] of evidence.snapshots) {
    const named = new Set(recorded.filter(({ id }) => id[1] === snapshotter).map(({ record }) => record.backend))
    const keyOf = (name: string) => backendName.exec(name)?.[3] ?? name
    // Of several with one key the last one is not yet removed.
    const newest = new Map<string, { info: SnapshotInfo; number: number }>()
    for (const info of infos) {
      const [, namespace, number, key] = backendName.exec(info.name) ?? []
      if (namespace === undefined || key === undefined || named.has(info.name)) continue
      const place = JSON.stringify([namespace, key])
      if ((newest.get(place)?.number ?? 0) <= Number(number)) newest.set(place, { info, number: Number(number) })
    }
    for (const { info } of newest.values()) {
      const [, namespace = '', , key = ''] = backendName.exec(info.name) ?? []
      const id = [namespace, snapshotter, key]
      if (taken.has(recordKey(snapshots, id))) continue
      const { parent, labels, createdAt, updatedAt } = info
      found.push({ id, record: { backend: info.name, parent: parent === '' ? '' : keyOf(parent), labels, createdAt, updatedAt } })
    }
  }
  return found
}

interface MissingContent {
  readonly contents: readonly Placed<ContentRecord>[]
  readonly images: readonly Placed<ImageRecord>[]
}

/** Blobs that no namespace names, with labels that say what belongs together, and names for images that have none. */
async function missingContent(
  sound: Inspection,
  evidence: Evidence,
  allSnapshots: readonly Placed<SnapshotRecord>[],
  fallbackNamespace: string,
  stamp: Timestamp,
): Promise<MissingContent> {
  const recorded = recordsOf(sound, contents)
  const known = new Set(recorded.map(({ id }) => id[1] ?? ''))
  const orphans = [...evidence.blobs.keys()].filter((digest) => !known.has(digest) && !evidence.altered.has(digest))
  const parsed = new Map<string, ParsedBlob>()
  for (const digest of orphans) {
    if ((evidence.blobs.get(digest) ?? 0) > largestManifestBytes) continue
    const blob = parseManifest(await evidence.readBlob(digest))
    if (blob !== undefined) parsed.set(digest, blob)
  }

  const placeOf = namespacesByImage(parsed, allSnapshots)
  const places = new Map<string, Set<string>>()
  const place = (digest: string, namespace: string): void => {
    const known = places.get(digest) ?? new Set()
    if (known.has(namespace)) return
    places.set(digest, known.add(namespace))
    for (const child of parsed.get(digest)?.children ?? []) place(child.digest, namespace)
  }
  for (const digest of parsed.keys()) for (const namespace of placeOf(digest)) place(digest, namespace)
  for (const digest of orphans) if (!places.has(digest)) place(digest, fallbackNamespace)

  const referenced = new Set([...parsed.values()].flatMap(({ children }) => children.map(({ digest }) => digest)))
  for (const { record } of recorded)
    for (const [label, value] of Object.entries(record.labels))
      if (label.startsWith('containerd.io/gc.ref.content')) referenced.add(value)
  const targets = new Set(
    recordsOf(sound, images).map(({ id, record }) => recordKey(contents, [id[0] ?? '', record.target.digest])),
  )

  const foundContents: Placed<ContentRecord>[] = []
  const foundImages: Placed<ImageRecord>[] = []
  for (const digest of orphans) {
    const sizeBytes = evidence.blobs.get(digest) ?? 0
    for (const namespace of places.get(digest) ?? []) {
      const blob = parsed.get(digest)
      const labels: Record<string, string> = { ...labelsOf(blob, namespace, allSnapshots) }
      const isTarget = targets.has(recordKey(contents, [namespace, digest]))
      if (!referenced.has(digest) && !isTarget) {
        if (blob?.mediaType === undefined) labels[rootLabel] = text(stamp)
        else
          foundImages.push({
            id: [namespace, `recovered@${digest}`],
            record: {
              labels: {},
              target: { mediaType: blob.mediaType, digest, sizeBytes, annotations: {} },
              createdAt: stamp,
              updatedAt: stamp,
            },
          })
      }
      foundContents.push({ id: [namespace, digest], record: { sizeBytes, labels, createdAt: stamp, updatedAt: stamp } })
    }
  }
  return { contents: foundContents, images: foundImages }
}

/** The namespaces that have the top layer of an image unpacked, by the digest of its configuration or anything above that. */
function namespacesByImage(
  parsed: ReadonlyMap<string, ParsedBlob>,
  allSnapshots: readonly Placed<SnapshotRecord>[],
): (digest: string) => ReadonlySet<string> {
  const owners = new Map<string, Set<string>>()
  for (const { id } of allSnapshots) owners.set(id[2] ?? '', (owners.get(id[2] ?? '') ?? new Set()).add(id[0] ?? ''))
  const found = new Map<string, ReadonlySet<string>>()
  const of = (digest: string): ReadonlySet<string> => {
    const cached = found.get(digest)
    if (cached !== undefined) return cached
    found.set(digest, new Set())
    const blob = parsed.get(digest)
    const names = new Set(blob?.diffIds === undefined ? [] : (owners.get(chainId(blob.diffIds)) ?? []))
    for (const child of blob?.children ?? []) for (const name of of(child.digest)) names.add(name)
    found.set(digest, names)
    return names
  }
  return of
}

/** The labels by which a manifest keeps its children, and a configuration its snapshot. */
function labelsOf(blob: ParsedBlob | undefined, namespace: string, allSnapshots: readonly Placed<SnapshotRecord>[]): Labels {
  const labels: Record<string, string> = {}
  for (const { label, digest } of blob?.children ?? []) labels[`containerd.io/gc.ref.content.${label}`] = digest
  if (blob?.diffIds !== undefined) {
    const chain = chainId(blob.diffIds)
    for (const { id } of allSnapshots)
      if (id[0] === namespace && id[2] === chain) labels[`containerd.io/gc.ref.snapshot.${id[1]}`] = chain
  }
  return labels
}

/** Snapshots that nothing would keep get a label that does. */
function withRoots(
  found: readonly Placed<SnapshotRecord>[],
  content: MissingContent,
  stamp: Timestamp,
): readonly Placed<SnapshotRecord>[] {
  const kept = new Set<string>()
  for (const { id, record } of found) if (record.parent !== '') kept.add(JSON.stringify([id[0], id[1], record.parent]))
  for (const { id, record } of content.contents)
    for (const [label, key] of Object.entries(record.labels))
      if (label.startsWith('containerd.io/gc.ref.snapshot.'))
        kept.add(JSON.stringify([id[0], label.slice('containerd.io/gc.ref.snapshot.'.length), key]))
  return found.map(({ id, record }) =>
    kept.has(JSON.stringify(id))
      ? { id, record }
      : { id, record: { ...record, labels: { ...record.labels, [rootLabel]: text(stamp) } } },
  )
}

/** Numbers of snapshots go on behind all that were ever given. */
function nextNumber(sound: Inspection, evidence: Evidence): number {
  const used = [...evidence.snapshots.values()].flat().map(({ name }) => Number(backendName.exec(name)?.[2] ?? 0))
  const recorded = recordsOf(sound, schema).find(({ id }) => id[0] === 'sequence') as Entry<number> | undefined
  return used.reduce((largest, number) => Math.max(largest, number + 1), recorded?.record ?? 1)
}

/** The name of the snapshot that layers with these digests make. */
function chainId(diffIds: readonly string[]): string {
  return diffIds
    .slice(1)
    .reduce((chain, diffId) => `sha256:${createHash('sha256').update(`${chain} ${diffId}`).digest('hex')}`, diffIds[0] ?? '')
}

function text(stamp: Timestamp): string {
  return new Date(timestampMs(stamp)).toISOString()
}

function recordKey(table: Table<unknown>, id: readonly string[]): string {
  return composeKey(table.name, ...id)
}
