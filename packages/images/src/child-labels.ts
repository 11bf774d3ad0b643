import type { Descriptor } from '@containerd-ts/interface'
import { isConfigType, isLayerType, isManifestType } from './media-types.js'

const prefix = 'containerd.io/gc.ref.content'

/**
 * The labels by which a manifest or an index keeps its children from garbage collection, named as containerd's clients name them:
 * `containerd.io/gc.ref.content.` and `config`, `l.<n>` for layers, `m.<n>` for manifests, `<n>` for what else there is.
 */
export function childLabels(children: readonly Pick<Descriptor, 'mediaType' | 'digest'>[]): Record<string, string> {
  const labels: Record<string, string> = {}
  const counts = new Map<string, number>()
  for (const { mediaType, digest } of children) {
    const key = keyOf(mediaType)
    const index = counts.get(key) ?? 0
    counts.set(key, index + 1)
    labels[key.endsWith('.') || index > 0 ? `${key}${index}` : key] = digest
  }
  return labels
}

function keyOf(mediaType: string): string {
  if (isConfigType(mediaType)) return `${prefix}.config`
  if (isManifestType(mediaType)) return `${prefix}.m.`
  if (isLayerType(mediaType)) return `${prefix}.l.`
  return `${prefix}.`
}
