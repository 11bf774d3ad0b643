import { now } from '@containerd-ts/api'
import { parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  type Labels,
  NotFoundError,
  type SnapshotInfo,
  type Snapshotter,
} from '@containerd-ts/interface'

/** A snapshotter without trees, with the rules that every one has. `existing` refs are answered AlreadyExists, as remote ones do. */
export function fakeSnapshotter(existing: ReadonlySet<string> = new Set()) {
  const infos = new Map<string, SnapshotInfo>()
  let cleanups = 0
  const get = (key: string): SnapshotInfo => {
    const info = infos.get(key)
    if (info === undefined) throw new NotFoundError(`snapshot ${key}`)
    return info
  }
  const create = (kind: 'active' | 'view', key: string, parent: string, labels: Labels) => {
    if (infos.has(key)) throw new AlreadyExistsError(`snapshot ${key}`)
    if (parent !== '' && get(parent).kind !== 'committed')
      throw new InvalidArgumentError(`parent ${parent} is not committed snapshot`)
    const stamp = now()
    const target = labels['containerd.io/snapshot.ref'] ?? ''
    if (existing.has(target)) {
      const name = `remote ${target}`
      infos.set(name, { kind: 'committed', name, parent, labels, createdAt: stamp, updatedAt: stamp })
      throw new AlreadyExistsError(`target ${target}`)
    }
    infos.set(key, { kind, name: key, parent, labels, createdAt: stamp, updatedAt: stamp })
    return [{ type: 'bind', source: key, target: '', options: [] }]
  }
  const snapshotter: Snapshotter = {
    stat: async (_ctx, key) => get(key),
    update: async (_ctx, { name, labels }) => {
      const info = { ...get(name), labels }
      infos.set(name, info)
      return info
    },
    usage: async (_ctx, key) => ({ inodes: 1, sizeBytes: get(key).name.length }),
    mounts: async (_ctx, key) => [{ type: 'bind', source: get(key).name, target: '', options: [] }],
    prepare: async (_ctx, key, parent, options) => create('active', key, parent, options?.labels ?? {}),
    view: async (_ctx, key, parent, options) => create('view', key, parent, options?.labels ?? {}),
    commit: async (_ctx, name, key, options) => {
      const info = get(key)
      if (info.kind !== 'active') throw new FailedPreconditionError(`snapshot ${key} is not active`)
      infos.delete(key)
      infos.set(name, {
        ...info,
        kind: 'committed',
        name,
        parent: info.parent || (options?.parent ?? ''),
        labels: options?.labels ?? {},
      })
    },
    remove: async (_ctx, key) => {
      get(key)
      if ([...infos.values()].some(({ parent }) => parent === key))
        throw new FailedPreconditionError('cannot remove snapshot with child')
      infos.delete(key)
    },
    async *walk(_ctx, filters) {
      const matches = parseFilters(filters)
      for (const info of [...infos.values()]) {
        if (
          matches(([field, ...rest]) =>
            field === 'kind' ? info.kind : field === 'labels' ? info.labels[rest.join('.')] : undefined,
          )
        )
          yield info
      }
    },
    cleanup: async () => {
      cleanups++
    },
  }
  return { snapshotter, infos, cleanups: () => cleanups }
}
