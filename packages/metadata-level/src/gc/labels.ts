import type { Labels } from '@containerd-ts/interface'
import { composeKey } from '../key.js'

/** On a lease or image: an RFC 3339 time from which on it is no reason to keep anything. */
export const expireLabel = 'containerd.io/gc.expire'
/** On a lease: it keeps what it lists and not what that refers to. */
export const flatLabel = 'containerd.io/gc.flat'

const rootPrefix = 'containerd.io/gc.root'
const refPrefix = 'containerd.io/gc.ref.'
const backrefPrefix = 'containerd.io/gc.bref.'

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

/** Milliseconds since 1970 of an RFC 3339 time, undefined for anything else. */
export function parseTime(text: string): number | undefined {
  const ms = rfc3339.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}

/** True when the labels say that the time of the object is over. What cannot be read never expires. */
export function isExpired(labels: Labels, nowMs: number): boolean {
  const expires = parseTime(labels[expireLabel] ?? '')
  return expires !== undefined && expires <= nowMs
}

/** The label that makes its bearer a root, if there is one. */
export function rootLabel(labels: Labels): string | undefined {
  return Object.keys(labels).find((key) => key.startsWith(rootPrefix))
}

/** An object that a label names. */
export interface LabelTarget {
  /** Its key. */
  readonly key: string
  readonly label: string
}

/** The objects that the labels of an object keep. */
export function references(namespace: string, labels: Labels): LabelTarget[] {
  return targets(namespace, labels, refPrefix, ['content', 'image'])
}

/** The objects that keep the bearer of these labels. */
export function backReferences(namespace: string, labels: Labels): LabelTarget[] {
  return targets(namespace, labels, backrefPrefix, ['content', 'image', 'container'])
}

function targets(namespace: string, labels: Labels, prefix: string, tables: readonly string[]): LabelTarget[] {
  const found: LabelTarget[] = []
  for (const label of Object.keys(labels)) {
    if (!label.startsWith(prefix)) continue
    const id = labels[label] ?? ''
    const kind = label.slice(prefix.length)
    if (kind.startsWith('snapshot.'))
      found.push({ key: composeKey('snapshot', namespace, snapshotterOf(kind.slice('snapshot.'.length)), id), label })
    for (const table of tables) if (names(kind, table)) found.push({ key: composeKey(table, namespace, id), label })
  }
  return found
}

/** `content`, `content.<anything>` and `content/<anything>`, but not `contentX`. */
function names(kind: string, table: string): boolean {
  return kind.startsWith(table) && (kind.length === table.length || kind[table.length] === '.' || kind[table.length] === '/')
}

/** What follows the first slash only tells labels apart. */
function snapshotterOf(text: string): string {
  const slash = text.indexOf('/')
  return slash < 0 ? text : text.slice(0, slash)
}
