import { now, type Timestamp } from '@containerd-ts/api'
import { fieldOfLabels, parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  background,
  type Context,
  FailedPreconditionError,
  InvalidArgumentError,
  isAlreadyExists,
  isNotFound,
  isUnavailable,
  type Labels,
  type Mount,
  NotFoundError,
  quote,
  requireNamespace,
  type SnapshotInfo,
  type SnapshotOptions,
  type Snapshotter,
  UnknownError,
  updatedLabels,
  validateLabels,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import type { Transaction, View } from './database.js'
import { withDeadline } from './deadline.js'
import { attach, detach, ensureNamespace, requireLease, type StoreDeps } from './deps.js'
import { eventTypes } from './event-types.js'
import { KeyedMutex } from './keyed-mutex.js'
import type { Sequence } from './sequence.js'
import type { SharedLock } from './shared-lock.js'
import { type CommittingSnapshot, leases, type SnapshotRecord, snapshots } from './tables.js'

const targetLabel = 'containerd.io/snapshot.ref'
const inheritedPrefix = 'containerd.io/snapshot/'
const parallelStats = 16

export interface SnapshotDeps extends StoreDeps {
  /** The snapshotter's name. */
  readonly name: string
  readonly backend: Snapshotter
  /** Held shared by whoever changes the backend, alone by whoever sweeps it. */
  readonly lock: SharedLock
  readonly sequence: Sequence
}

/**
 * The view that each namespace has of a snapshotter. A snapshot is in the backend under a name of its own, so that a key can be taken
 * again as soon as it is removed here, although the backend gives up the old snapshot only at the next collection.
 */
export function createSnapshotView(deps: SnapshotDeps): Snapshotter {
  const { view, update, publish, dirty, backend, lock, name: snapshotter } = deps
  const mutex = new KeyedMutex()
  const leaseType = `snapshots/${snapshotter}`

  return {
    async stat(ctx, key) {
      const namespace = requireNamespace(ctx)
      const record = requireRecord(view, namespace, snapshotter, key)
      return infoOf(key, record, await backend.stat(ctx, record.backend))
    },

    async update(ctx, { name, labels }, fieldpaths) {
      const namespace = requireNamespace(ctx)
      if (name === '') throw new InvalidArgumentError('snapshot name must not be empty')
      return lock.shared(() =>
        mutex.run([lockKey(namespace, name)], async () => {
          const current = requireRecord(view, namespace, snapshotter, name)
          const next = updatedLabels(current.labels, labels, fieldpaths, `snapshot ${quote(name)}`)
          validateLabels(next, 'info.Labels')
          const info = await backend.update(
            ctx,
            { name: current.backend, labels: inheritedLabels(next) },
            fieldpaths.length === 0 ? [] : ['labels'],
          )
          const record = await update((tx) => {
            const updated = { ...requireRecord(tx, namespace, snapshotter, name), labels: next, updatedAt: now() }
            tx.put(snapshots, [namespace, snapshotter, name], updated)
            return updated
          })
          return infoOf(name, record, info)
        }),
      )
    },

    async usage(ctx, key) {
      return backend.usage(ctx, requireRecord(view, requireNamespace(ctx), snapshotter, key).backend)
    },

    async mounts(ctx, key) {
      return backend.mounts(ctx, requireRecord(view, requireNamespace(ctx), snapshotter, key).backend)
    },

    async prepare(ctx, key, parent, options) {
      const mounts = await create(ctx, key, parent, options, (...args) => backend.prepare(...args))
      await publish(ctx, ctx.namespace, '/snapshot/prepare', eventTypes.snapshotPrepare, { key, parent, snapshotter })
      return mounts
    },

    view: (ctx, key, parent, options) => create(ctx, key, parent, options, (...args) => backend.view(...args)),

    async commit(ctx, name, key, options = {}) {
      const namespace = requireNamespace(ctx)
      const labels = withoutEmptyLabels(options.labels ?? {})
      validateLabels(labels, 'info.Labels')
      await lock.shared(() =>
        mutex.run([lockKey(namespace, name), lockKey(namespace, key)], () =>
          commit(ctx, namespace, name, key, labels, options.parent ?? ''),
        ),
      )
      await publish(ctx, namespace, '/snapshot/commit', eventTypes.snapshotCommit, { key, name, snapshotter })
    },

    async remove(ctx, key) {
      const namespace = requireNamespace(ctx)
      await lock.shared(() =>
        mutex.run([lockKey(namespace, key)], () =>
          update((tx) => {
            const record = requireRecord(tx, namespace, snapshotter, key)
            if (tx.list(snapshots, namespace, snapshotter).some(({ record }) => record.parent === key)) {
              throw new FailedPreconditionError('cannot remove snapshot with child')
            }
            tx.delete(snapshots, namespace, snapshotter, key)
            detach(tx, ctx, namespace, leaseType, key)
            tx.afterwards(() => {
              dirty.markDeleted()
              dirty.addSnapshot(snapshotter, record.backend)
            })
          }),
        ),
      )
      await publish(ctx, namespace, '/snapshot/remove', eventTypes.snapshotRemove, { key, snapshotter })
    },

    async *walk(ctx, filters) {
      const namespace = requireNamespace(ctx)
      const matches = parseFilters(filters)
      const entries = view.list(snapshots, namespace, snapshotter)
      for (let start = 0; start < entries.length; start += parallelStats) {
        const infos = await Promise.all(
          entries.slice(start, start + parallelStats).map(({ id, record }) =>
            backend.stat(ctx, record.backend).then(
              (info) => infoOf(id[2] ?? '', record, info),
              (error: unknown) => {
                // Gone from the backend behind our back: as good as not there.
                if (!isNotFound(error)) throw error
                return undefined
              },
            ),
          ),
        )
        for (const info of infos) if (info !== undefined && matches(snapshotField(info))) yield info
      }
    },
  }

  type Create = (ctx: Context, key: string, parent: string, options: SnapshotOptions) => Promise<Mount[]>

  async function create(
    ctx: Context,
    key: string,
    parent: string,
    options: SnapshotOptions = {},
    make: Create,
  ): Promise<Mount[]> {
    const namespace = requireNamespace(ctx)
    if (key === '') throw new InvalidArgumentError('snapshot key must not be empty')
    const labels = withoutEmptyLabels(options.labels ?? {})
    validateLabels(labels, 'info.Labels')
    const target = labels[targetLabel] ?? ''
    const keys = target === '' || target === key ? [key] : [key, target]
    return lock.shared(() =>
      mutex.run(
        keys.map((name) => lockKey(namespace, name)),
        async () => {
          if (target !== '') await failIfThere(ctx, namespace, target, `target snapshot ${quote(target)}`)
          await failIfThere(ctx, namespace, key, `snapshot ${quote(key)}`)
          const backendParent = parentOf(view, namespace, parent)
          const backendKey = await backendName(namespace, key)
          let mounts: Mount[]
          try {
            mounts = await make(ctx, backendKey, backendParent, { labels: inheritedLabels(labels) })
          } catch (error) {
            if (!isAlreadyExists(error)) throw error
            if (target === '')
              throw new UnknownError(`unexpected answer of snapshotter ${snapshotter}: ${messageOf(error)}`, { cause: error })
            await adopt(ctx, namespace, target, parent, backendParent, labels)
            throw new AlreadyExistsError(`target snapshot ${quote(target)}`, { cause: error })
          }
          try {
            await record(ctx, namespace, key, { backend: backendKey, parent, labels })
          } catch (error) {
            await backend.remove(ctx, backendKey).catch((cause: unknown) => {
              ctx.log.warn('cannot remove a snapshot that was not recorded', { snapshotter, key: backendKey, error: cause })
              dirty.addSnapshot(snapshotter, backendKey)
            })
            throw error
          }
          return mounts
        },
      ),
    )
  }

  async function commit(
    ctx: Context,
    namespace: string,
    name: string,
    key: string,
    labels: Labels,
    parent: string,
  ): Promise<void> {
    if (name === '') throw new InvalidArgumentError('snapshot name must not be empty')
    if (view.get(snapshots, namespace, snapshotter, key)?.committing !== undefined) await resumeCommit(deps, namespace, key)
    await failIfThere(ctx, namespace, name, `snapshot ${quote(name)}`)
    const current = requireRecord(view, namespace, snapshotter, key)
    requireLease(view, ctx, namespace)
    const backendParent = parent === '' ? '' : parentOf(view, namespace, parent)
    const committed = await backendName(namespace, name)
    const { lease = '' } = ctx
    // Without this a crash after the backend's commit would leave a name for what is not there any more.
    const committing = { name, backend: committed, parent: current.parent || parent, labels, lease }
    const intent = { ...current, committing }
    await update((tx) => tx.put(snapshots, [namespace, snapshotter, key], intent), { durable: false })
    try {
      await backend.commit(ctx, committed, current.backend, {
        labels: inheritedLabels(labels),
        ...(backendParent !== '' && { parent: backendParent }),
      })
    } catch (error) {
      await update((tx) => withdrawCommit(tx, snapshotter, namespace, key, intent), { durable: false }).catch(() => {})
      throw error
    }
    try {
      await update((tx) => {
        parentOf(tx, namespace, committing.parent)
        requireLease(tx, ctx, namespace)
        finishCommit(tx, snapshotter, namespace, key, committing)
      })
    } catch (error) {
      // What the disk refuses now can be ended later. Otherwise the active snapshot is no more, and nothing names the committed one.
      if (!isUnavailable(error)) {
        await update((tx) => tx.delete(snapshots, namespace, snapshotter, key))
        dirty.addSnapshot(snapshotter, committed)
      }
      throw error
    }
  }

  /** The lease keeps what is there already, too. @throws AlreadyExistsError */
  async function failIfThere(ctx: Context, namespace: string, name: string, what: string): Promise<void> {
    if (view.get(snapshots, namespace, snapshotter, name) === undefined) return
    const exists = await update((tx) => {
      if (tx.get(snapshots, namespace, snapshotter, name) === undefined) return false
      attach(tx, ctx, namespace, leaseType, name)
      return true
    })
    if (exists) throw new AlreadyExistsError(what)
  }

  /** Takes over the committed snapshot that the backend says it has under this reference. */
  async function adopt(
    ctx: Context,
    namespace: string,
    target: string,
    parent: string,
    backendParent: string,
    labels: Labels,
  ): Promise<void> {
    const filter = `kind==committed,labels.${quote(targetLabel)}==${quote(target)}`
    let mismatched = false
    for await (const info of backend.walk(ctx, [filter])) {
      if (info.parent !== backendParent) {
        mismatched = true
        continue
      }
      await record(ctx, namespace, target, { backend: info.name, parent, labels })
      return
    }
    if (mismatched) throw new InvalidArgumentError(`target snapshot ${quote(target)}: mismatched parent ${quote(parent)}`)
    throw new NotFoundError(`target snapshot ${quote(target)} in backend`)
  }

  async function record(
    ctx: Context,
    namespace: string,
    name: string,
    fields: Pick<SnapshotRecord, 'backend' | 'parent' | 'labels'>,
  ): Promise<void> {
    const createdAt: Timestamp = now()
    await update((tx) => {
      if (tx.get(snapshots, namespace, snapshotter, name) !== undefined) throw new AlreadyExistsError(`snapshot ${quote(name)}`)
      parentOf(tx, namespace, fields.parent)
      attach(tx, ctx, namespace, leaseType, name)
      ensureNamespace(tx, namespace)
      tx.put(snapshots, [namespace, snapshotter, name], { ...fields, createdAt, updatedAt: createdAt })
    })
  }

  /** The backend's name of a parent. @throws NotFoundError */
  function parentOf(from: View, namespace: string, parent: string): string {
    if (parent === '') return ''
    const record = from.get(snapshots, namespace, snapshotter, parent)
    if (record === undefined) throw new NotFoundError(`parent snapshot ${parent} does not exist`)
    return record.backend
  }

  async function backendName(namespace: string, key: string): Promise<string> {
    return `${namespace}/${await deps.sequence.next()}/${key}`
  }
}

/** Ends the commits that were under way when the daemon was killed. */
export async function resumeCommits(deps: SnapshotDeps, deadlineMs: number): Promise<void> {
  const { view, name: snapshotter, log } = deps
  for (const { id, record } of view.scan(snapshots)) {
    const [namespace = '', owner, key = ''] = id
    if (owner !== snapshotter || record.committing === undefined) continue
    await withDeadline(`snapshotter ${snapshotter}`, deadlineMs, () => resumeCommit(deps, namespace, key)).catch(
      (error: unknown) => log.warn('cannot tell what became of a commit', { snapshotter, namespace, key, error }),
    )
  }
}

/** Ends a commit that was interrupted: the backend has made it, or it has not. */
async function resumeCommit({ view, update, backend, name: snapshotter, log }: SnapshotDeps, namespace: string, key: string) {
  const record = view.get(snapshots, namespace, snapshotter, key)
  const committing = record?.committing
  if (record === undefined || committing === undefined) return
  const made = await backend.stat(background(namespace, { log }), committing.backend).then(
    () => true,
    (error: unknown) => {
      if (!isNotFound(error)) throw error
      return false
    },
  )
  await update((tx) => {
    if (made) finishCommit(tx, snapshotter, namespace, key, committing)
    else withdrawCommit(tx, snapshotter, namespace, key, record)
  })
}

/** The committed snapshot takes the place of the active one, also in leases. */
function finishCommit(
  tx: Transaction,
  snapshotter: string,
  namespace: string,
  key: string,
  { name, backend, parent, labels, lease }: CommittingSnapshot,
): void {
  const leased = background(namespace, { lease })
  const createdAt = now()
  tx.delete(snapshots, namespace, snapshotter, key)
  tx.put(snapshots, [namespace, snapshotter, name], { backend, parent, labels, createdAt, updatedAt: createdAt })
  // The lease may be gone since.
  if (tx.get(leases, namespace, lease) === undefined) return
  detach(tx, leased, namespace, `snapshots/${snapshotter}`, key)
  attach(tx, leased, namespace, `snapshots/${snapshotter}`, name)
}

function withdrawCommit(tx: Transaction, snapshotter: string, namespace: string, key: string, intent: SnapshotRecord): void {
  if (tx.get(snapshots, namespace, snapshotter, key)?.committing?.backend !== intent.committing?.backend) return
  const { committing: _, ...record } = intent
  tx.put(snapshots, [namespace, snapshotter, key], record)
}

function lockKey(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

function requireRecord(view: View, namespace: string, snapshotter: string, key: string): SnapshotRecord {
  const record = view.get(snapshots, namespace, snapshotter, key)
  if (record === undefined) throw new NotFoundError(`snapshot ${key} does not exist`)
  return record
}

/** What the backend is told of the labels. */
function inheritedLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => key === targetLabel || key.startsWith(inheritedPrefix)))
}

/** The backend knows the kind, everything else is told here; labels of the backend's own stay visible. */
function infoOf(name: string, record: SnapshotRecord, info: SnapshotInfo): SnapshotInfo {
  const own = Object.fromEntries(
    Object.entries(info.labels).filter(([key]) => key !== targetLabel && !key.startsWith(inheritedPrefix)),
  )
  const { parent, labels, createdAt, updatedAt } = record
  return { kind: info.kind, name, parent, labels: { ...own, ...labels }, createdAt, updatedAt }
}

function snapshotField(info: SnapshotInfo) {
  return ([field, ...rest]: readonly string[]): string | undefined => {
    switch (field) {
      case 'kind':
        return info.kind
      case 'name':
        return info.name
      case 'parent':
        return info.parent
      case 'labels':
        return fieldOfLabels(info.labels, rest)
      default:
        return undefined
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
