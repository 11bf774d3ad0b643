import type { Labels } from '@containerd-ts/interface'
import { parseDuration } from '@containerd-ts/plugin'
import { composeKey } from '../key.js'
import { parseTime } from './labels.js'

const conditionPrefix = 'containerd.io/gc.cond.snapshot.'
const usedAtLabel = 'containerd.io/gc.cond.value-usedat'

/** Keeps an object as long as a snapshot is kept and was used long or lately enough. */
export interface Condition {
  /** The label that says so. */
  readonly label: string
  /** Key of the snapshot. */
  readonly snapshot: string
  readonly older: boolean
  readonly ageMs: number
}

/** The conditions in labels such as `containerd.io/gc.cond.snapshot.overlayfs`: `usedat<24h|<snapshot key>`. Any of them suffices. */
export function conditionsOf(namespace: string, labels: Labels): Condition[] {
  const conditions: Condition[] = []
  for (const [label, value] of Object.entries(labels)) {
    const bar = value.indexOf('|')
    if (!label.startsWith(conditionPrefix) || bar < 0) continue
    const [snapshotter = ''] = label.slice(conditionPrefix.length).split('/', 1)
    const snapshot = composeKey('snapshot', namespace, snapshotter, value.slice(bar + 1))
    for (const term of value.slice(0, bar).split(',')) {
      const [, operator, duration = ''] = /^usedat([<>])(.+)$/.exec(term) ?? []
      const ageMs = parseDuration(duration)
      if (operator !== undefined && ageMs !== undefined) conditions.push({ label, snapshot, older: operator === '>', ageMs })
    }
  }
  return conditions
}

/** True when a snapshot with these labels fulfils the condition. */
export function holds(condition: Condition, snapshot: Labels, nowMs: number): boolean {
  const usedAt = parseTime(snapshot[usedAtLabel] ?? '')
  if (usedAt === undefined) return false
  return condition.older ? nowMs - usedAt > condition.ageMs : nowMs - usedAt < condition.ageMs
}
