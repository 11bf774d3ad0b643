import { InvalidArgumentError, type Labels, quote } from '@containerd-ts/interface'
import type { IdRange } from '@containerd-ts/linux'
import { parseIdMap } from '@containerd-ts/mount'

const uidLabel = 'containerd.io/snapshot/uidmapping'
const gidLabel = 'containerd.io/snapshot/gidmapping'

/** The owner of a tree whose labels map container ids to host ids: the host's ids of the container's root. Undefined without labels. */
export function mappedOwner(labels: Labels): { uid: number; gid: number } | undefined {
  const uids = labels[uidLabel]
  const gids = labels[gidLabel]
  if (uids === undefined && gids === undefined) return undefined
  return { uid: rootOf(uidLabel, uids), gid: rootOf(gidLabel, gids) }
}

/** Mount options that translate owners as the labels say; none without both labels. */
export function mapOptions(labels: Labels): string[] {
  const uids = labels[uidLabel]
  const gids = labels[gidLabel]
  return uids === undefined || gids === undefined ? [] : [`uidmap=${uids}`, `gidmap=${gids}`]
}

/** `container:host:size[,…]`: the host id that container id 0 has; a missing map is the identity. */
function rootOf(label: string, mapping: string | undefined): number {
  if (mapping === undefined) return 0
  let entries: IdRange[]
  try {
    entries = parseIdMap(mapping)
  } catch {
    throw new InvalidArgumentError(`label ${label}: ${quote(mapping)} is no id mapping`)
  }
  const root = entries.find(({ container, size }) => container === 0 && size > 0)
  if (root === undefined || root.host >= 0xffff_ffff)
    throw new InvalidArgumentError(`label ${label}: ${quote(mapping)} does not map id 0`)
  return root.host
}
