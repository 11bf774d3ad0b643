import { join } from 'node:path'
import type { Mount } from '@containerd-ts/interface'
import type { StoredSnapshot } from '@containerd-ts/snapshot-storage'

/** Where the parts of the snapshot with that id lie. */
export interface SnapshotPaths {
  directory(id: number): string
  upper(id: number): string
  work(id: number): string
}

export function snapshotPaths(root: string): SnapshotPaths {
  const directory = (id: number) => join(root, 'snapshots', String(id))
  return { directory, upper: (id) => join(directory(id), 'fs'), work: (id) => join(directory(id), 'work') }
}

/**
 * The one mount that shows a snapshot. A single tree is bound; several are an overlay whose lower directories go from the direct
 * parent down to the base layer. `maps` translate owners, `options` are for overlays.
 */
export function overlayMounts(
  snapshot: StoredSnapshot,
  parents: readonly StoredSnapshot[],
  paths: SnapshotPaths,
  { options = [], maps = [] }: { options?: readonly string[]; maps?: readonly string[] },
): Mount[] {
  const lower = parents.map(({ id }) => paths.upper(id))
  const [single] = lower
  if (single === undefined) return [bindMount(paths.upper(snapshot.id), snapshot.kind === 'view' ? 'ro' : 'rw', maps)]
  if (snapshot.kind === 'view' && lower.length === 1) return [bindMount(single, 'ro', maps)]
  const writable =
    snapshot.kind === 'active' ? [`workdir=${paths.work(snapshot.id)}`, `upperdir=${paths.upper(snapshot.id)}`] : []
  return [
    {
      type: 'overlay',
      source: 'overlay',
      target: '',
      options: [...maps, ...writable, `lowerdir=${lower.join(':')}`, ...options],
    },
  ]
}

function bindMount(source: string, mode: 'ro' | 'rw', maps: readonly string[]): Mount {
  return { type: 'bind', source, target: '', options: [...maps, mode, 'rbind'] }
}
