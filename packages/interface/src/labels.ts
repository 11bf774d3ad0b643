import type { Labels } from './content.js'
import { InvalidArgumentError } from './errors.js'
import { quote } from './identifier.js'

/** `labels` as they are kept: a label with an empty value is none. */
export function withoutEmptyLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''))
}

/**
 * `current` after an update to `given`. A path `labels` replaces all labels, `labels.<key>` sets one, or deletes it when `given` has
 * none or an empty one; no paths at all replace all labels. The key is everything after the first dot.
 *
 * @throws InvalidArgumentError for any other path; `object` names what is updated, for instance `snapshot "a"`.
 */
export function updatedLabels(current: Labels, given: Labels, fieldpaths: readonly string[], object: string): Labels {
  if (fieldpaths.length === 0) return withoutEmptyLabels(given)
  let labels = current
  for (const path of fieldpaths) {
    if (path === 'labels') labels = withoutEmptyLabels(given)
    else if (path.startsWith('labels.')) labels = withLabel(labels, path.slice('labels.'.length), given)
    else throw new InvalidArgumentError(`cannot update ${quote(path)} field on ${object}`)
  }
  return labels
}

/** `labels` with the one named `key` taken over from `given`. */
export function withLabel(labels: Labels, key: string, given: Labels): Labels {
  const { [key]: _, ...rest } = labels
  const value = Object.hasOwn(given, key) ? given[key] : undefined
  return value === undefined || value === '' ? rest : { ...rest, [key]: value }
}
