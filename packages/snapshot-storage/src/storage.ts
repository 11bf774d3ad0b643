import { now, type Timestamp } from '@containerd-ts/api'
import { fieldOfLabels, parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  type Labels,
  NotFoundError,
  quote,
  type SnapshotInfo,
  type SnapshotKind,
  type SnapshotUsage,
  updatedLabels,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import { openDatabase } from './database.js'

/** A snapshot as it is kept. */
export interface StoredSnapshot {
  /** Names its directory. Rises with every new snapshot, stays through a commit and is never given out again. */
  readonly id: number
  readonly kind: SnapshotKind
  readonly key: string
  /** Name of the parent, empty for none. */
  readonly parent: string
  readonly labels: Labels
  readonly createdAt: Timestamp
  readonly updatedAt: Timestamp
  /** Known of committed snapshots. */
  readonly usage?: SnapshotUsage
}

/** What a new snapshot is. */
export interface CreateOptions {
  kind: 'active' | 'view'
  key: string
  parent: string
  labels?: Labels
}

/** What a snapshot is given when it is frozen. */
export interface CommitSnapshotOptions {
  usage: SnapshotUsage
  labels?: Labels
  /** A parent for a snapshot that was created without one. */
  parent?: string
}

/**
 * Keys, parents, kinds and labels of the snapshots of one snapshotter. The whole of it is in memory, every change is on disk before
 * it is answered, and changes that come together share one write.
 *
 * Life of a snapshot: `create` makes it active (or a view), `commit` gives it a name and freezes it, `remove` ends it once nothing
 * names it as its parent.
 */
export interface SnapshotStorage {
  /** @throws NotFound */
  get(key: string): StoredSnapshot
  /** The chain of parents, the direct one first. */
  parents(snapshot: StoredSnapshot): StoredSnapshot[]
  /**
   * Makes a snapshot. `prepare` gets it with its id before it is recorded: what it makes on disk is there when the snapshot appears.
   * When it fails nothing is recorded.
   * @throws InvalidArgument for an empty key or a parent that is not committed, AlreadyExists, NotFound for the parent.
   */
  create(options: CreateOptions, prepare: (snapshot: StoredSnapshot) => Promise<void>): Promise<StoredSnapshot>
  /** @throws NotFound, FailedPrecondition when it is not active, AlreadyExists for the name, InvalidArgument for another parent. */
  commit(key: string, name: string, options: CommitSnapshotOptions): Promise<StoredSnapshot>
  /** Changes labels, see `Snapshotter.update`. */
  update(key: string, labels: Labels, fieldpaths: readonly string[]): Promise<StoredSnapshot>
  /** @throws NotFound, FailedPrecondition when it has children. */
  remove(key: string): Promise<StoredSnapshot>
  /** Snapshots that match any of `filters`, in the order of their keys. */
  list(filters: readonly string[]): StoredSnapshot[]
  /** The kind of the snapshot of that id, one that is being made included; undefined for an id that is not in use. */
  kindOf(id: number): SnapshotKind | undefined
  close(): Promise<void>
}

/** The public view of a stored snapshot. */
export function snapshotInfo({ kind, key, parent, labels, createdAt, updatedAt }: StoredSnapshot): SnapshotInfo {
  return { kind, name: key, parent, labels, createdAt, updatedAt }
}

const counterKey = 'id'
const snapshotPrefix = 'snapshot/'
const idsAtOnce = 64

/** Opens the storage in a directory of its own, making it where missing. One process at a time may have it open. */
export async function openSnapshotStorage(directory: string): Promise<SnapshotStorage> {
  const database = await openDatabase(directory)
  const snapshots = new Map<string, StoredSnapshot>()
  const children = new Map<string, number>()
  const live = new Map<number, SnapshotKind>()
  // Keys of snapshots on their way: their directory is being made.
  const reserved = new Set<string>()
  let lastId = 0
  // Ids are set aside on disk before one names a directory, many at once.
  let lastIdSetAside = 0
  let settingAside = Promise.resolve()
  let closing: Promise<void> | undefined

  for (const [key, value] of database.entries()) {
    if (key === counterKey) lastId = Number(value)
    else if (key.startsWith(snapshotPrefix)) add(decode(value))
  }
  lastIdSetAside = lastId

  function add(snapshot: StoredSnapshot): void {
    snapshots.set(snapshot.key, snapshot)
    live.set(snapshot.id, snapshot.kind)
    if (snapshot.parent !== '') children.set(snapshot.parent, (children.get(snapshot.parent) ?? 0) + 1)
  }

  function drop(snapshot: StoredSnapshot): void {
    snapshots.delete(snapshot.key)
    if (snapshot.parent === '') return
    const count = (children.get(snapshot.parent) ?? 0) - 1
    if (count > 0) children.set(snapshot.parent, count)
    else children.delete(snapshot.parent)
  }

  function get(key: string): StoredSnapshot {
    const snapshot = snapshots.get(key)
    if (snapshot === undefined) throw new NotFoundError(`snapshot ${key} does not exist`)
    return snapshot
  }

  function committedParent(name: string): void {
    const parent = snapshots.get(name)
    if (parent === undefined) throw new NotFoundError(`parent snapshot ${name} does not exist`)
    if (parent.kind !== 'committed') throw new InvalidArgumentError(`parent ${quote(name)} is not committed snapshot`)
  }

  /** An id that nothing on disk has been named by, whatever happened to this process before. */
  async function takeId(): Promise<number> {
    const id = ++lastId
    if (id > lastIdSetAside) {
      lastIdSetAside = id + idsAtOnce
      settingAside = database.write([counter(lastIdSetAside)], () => {
        lastIdSetAside = 0
      })
    }
    await settingAside
    return id
  }

  /** Puts `next` in the place of `previous`, in memory and on disk. */
  async function replace(previous: StoredSnapshot, next: StoredSnapshot): Promise<StoredSnapshot> {
    drop(previous)
    add(next)
    const removal = previous.key === next.key ? [] : [{ type: 'del' as const, key: snapshotPrefix + previous.key }]
    await database.write([...removal, put(next)], () => {
      drop(next)
      add(previous)
    })
    return next
  }

  return {
    get,
    parents(snapshot) {
      const chain: StoredSnapshot[] = []
      for (let name = snapshot.parent; name !== ''; ) {
        const parent = get(name)
        chain.push(parent)
        name = parent.parent
      }
      return chain
    },
    async create({ kind, key, parent, labels = {} }, prepare) {
      if (key === '') throw new InvalidArgumentError('snapshot key must not be empty')
      if (snapshots.has(key) || reserved.has(key)) throw new AlreadyExistsError(`snapshot ${key}`)
      if (parent !== '') committedParent(parent)
      reserved.add(key)
      // While its children are being made a parent must not go.
      if (parent !== '') children.set(parent, (children.get(parent) ?? 0) + 1)
      let id = 0
      let recorded = false
      try {
        id = await takeId()
        live.set(id, kind)
        const time = now()
        const snapshot = { id, kind, key, parent, labels: withoutEmptyLabels(labels), createdAt: time, updatedAt: time }
        await prepare(snapshot)
        add(snapshot)
        recorded = true
        await database.write([put(snapshot)], () => {
          recorded = false
          drop(snapshot)
        })
        return snapshot
      } finally {
        reserved.delete(key)
        if (parent !== '') {
          const count = (children.get(parent) ?? 0) - 1
          if (count > 0) children.set(parent, count)
          else children.delete(parent)
        }
        if (!recorded) live.delete(id)
      }
    },
    async commit(key, name, { usage, labels = {}, parent = '' }) {
      if (name === '') throw new InvalidArgumentError('snapshot name must not be empty')
      const active = get(key)
      if (active.kind !== 'active') throw new FailedPreconditionError(`snapshot ${key} is not active`)
      if (snapshots.has(name) || reserved.has(name)) throw new AlreadyExistsError(`committed snapshot ${name}`)
      if (parent !== '' && parent !== active.parent) {
        if (active.parent !== '')
          throw new InvalidArgumentError(`cannot change parent of snapshot ${key} from ${active.parent} to ${parent}`)
        committedParent(parent)
      }
      const time = now()
      return replace(active, {
        id: active.id,
        kind: 'committed',
        key: name,
        parent: active.parent || parent,
        labels: withoutEmptyLabels(labels),
        createdAt: time,
        updatedAt: time,
        usage,
      })
    },
    async update(key, labels, fieldpaths) {
      const current = get(key)
      const next = updatedLabels(current.labels, labels, fieldpaths, `snapshot ${quote(key)}`)
      return replace(current, { ...current, labels: next, updatedAt: now() })
    },
    async remove(key) {
      const snapshot = get(key)
      if ((children.get(key) ?? 0) > 0) throw new FailedPreconditionError(`cannot remove snapshot ${key} with child`)
      drop(snapshot)
      await database.write([{ type: 'del', key: snapshotPrefix + key }], () => add(snapshot))
      // Not before: a directory must outlive its record.
      live.delete(snapshot.id)
      return snapshot
    },
    list(filters) {
      const matches = parseFilters(filters)
      const found = [...snapshots.values()].filter((snapshot) => matches((path) => field(snapshot, path)))
      return found.sort((a, b) => (a.key < b.key ? -1 : 1))
    },
    kindOf: (id) => live.get(id),
    close() {
      // What was set aside and not used is given back.
      closing ??= database.write([counter(lastId)], () => {}).finally(() => database.close())
      return closing
    },
  }
}

function field(snapshot: StoredSnapshot, [name, ...rest]: readonly string[]): string | undefined {
  switch (name) {
    case 'kind':
      return snapshot.kind
    case 'name':
      return snapshot.key
    case 'parent':
      return snapshot.parent
    case 'labels':
      return fieldOfLabels(snapshot.labels, rest)
    default:
      return undefined
  }
}

function counter(id: number) {
  return { type: 'put' as const, key: counterKey, value: String(id) }
}

function put(snapshot: StoredSnapshot) {
  return { type: 'put' as const, key: snapshotPrefix + snapshot.key, value: JSON.stringify(snapshot) }
}

// Written by this module only, and with a checksum.
function decode(value: string): StoredSnapshot {
  return JSON.parse(value) as StoredSnapshot
}
