import { InvalidArgumentError, type Labels, quote } from '@containerd-ts/interface'

const uidLabel = 'containerd.io/snapshot/uidmapping'
const gidLabel = 'containerd.io/snapshot/gidmapping'

/** The owner of a tree whose labels map container ids to host ids: the host's ids of the container's root. Undefined without labels. */
export function mappedOwner(labels: Labels): { uid: number; gid: number } | undefined {
  const uids = labels[uidLabel]
  const gids = labels[gidLabel]
  if (uids === undefined && gids === undefined) return undefined
  return { uid: rootOf(uidLabel, uids), gid: rootOf(gidLabel, gids) }
}

/** `container:host:size[,…]`: the host id that container id 0 has; a missing map is the identity. */
function rootOf(label: string, mapping: string | undefined): number {
  if (mapping === undefined) return 0
  const entries = mapping.split(',').map((entry) => {
    const match = /^(\d+):(\d+):(\d+)$/.exec(entry)
    if (match === null) throw new InvalidArgumentError(`label ${label}: ${quote(mapping)} is no id mapping`)
    const [, container, host, size] = match
    return { container: Number(container), host: Number(host), size: Number(size) }
  })
  const root = entries.find(({ container, size }) => container === 0 && size > 0)
  if (root === undefined || root.host >= 0xffff_ffff)
    throw new InvalidArgumentError(`label ${label}: ${quote(mapping)} does not map id 0`)
  return root.host
}
