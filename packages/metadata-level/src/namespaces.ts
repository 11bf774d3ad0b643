import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  type Labels,
  type NamespaceStore,
  NotFoundError,
  quote,
  validateIdentifier,
  validateLabels,
  withLabel,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import type { Transaction } from './database.js'
import type { StoreDeps } from './deps.js'
import { eventTypes } from './event-types.js'
import { containers, contents, images, ingests, leases, namespaces, resources, snapshots, type Table } from './tables.js'

// What goes with its namespace, and does not keep it from being deleted.
const vanishing: readonly Table<unknown>[] = [leases, resources, ingests]

export function createNamespaceStore({ view, update, publish, dirty }: StoreDeps): NamespaceStore {
  return {
    async get(_ctx, name) {
      return { name, labels: view.get(namespaces, name)?.labels ?? {} }
    },

    async list() {
      return view.list(namespaces).map(({ id: [name = ''], record }) => ({ name, labels: record.labels }))
    },

    async create(ctx, namespace) {
      const { name, labels } = namespace
      validateIdentifier(name, 'namespace validation')
      validateLabels(labels, 'namespace.Labels')
      await update((tx) => {
        if (tx.get(namespaces, name) !== undefined) throw new AlreadyExistsError(`namespace ${quote(name)}`)
        tx.put(namespaces, [name], { labels: withoutEmptyLabels(labels) })
      })
      await publish(ctx, name, '/namespaces/create', eventTypes.namespaceCreate, { name, labels: { ...labels } })
      return namespace
    },

    async update(ctx, { name, labels }, fieldpaths) {
      validateIdentifier(name, 'namespace validation')
      const updated = await update((tx) => {
        const next = merge(tx.get(namespaces, name)?.labels ?? {}, labels, fieldpaths)
        validateLabels(next, 'namespace.Labels')
        tx.put(namespaces, [name], { labels: next })
        return next
      })
      await publish(ctx, name, '/namespaces/update', eventTypes.namespaceUpdate, { name, labels: { ...labels } })
      return { name, labels: updated }
    },

    async delete(ctx, name) {
      await update((tx) => {
        if (tx.get(namespaces, name) === undefined) throw new NotFoundError(`namespace ${quote(name)}`)
        const remaining = contentsOf(tx, name)
        if (remaining.length > 0) {
          throw new FailedPreconditionError(`namespace ${quote(name)} must be empty, but it still has ${remaining.join(', ')}`)
        }
        const unfinished = tx.list(ingests, name)
        for (const table of vanishing) for (const { id } of tx.list(table, name)) tx.delete(table, ...id)
        tx.delete(namespaces, name)
        tx.afterwards(() => {
          dirty.markDeleted()
          for (const { record } of unfinished) dirty.addIngest(record)
        })
      })
      await publish(ctx, name, '/namespaces/delete', eventTypes.namespaceDelete, { name })
    },
  }
}

/** `labels.<key>` only: unlike elsewhere `labels` alone is no path. */
function merge(current: Labels, given: Labels, fieldpaths: readonly string[]): Labels {
  if (fieldpaths.length === 0) return withoutEmptyLabels(given)
  let labels = current
  for (const path of fieldpaths) {
    if (!path.startsWith('labels.')) throw new InvalidArgumentError(`cannot update ${quote(path)} field`)
    labels = withLabel(labels, path.slice('labels.'.length), given)
  }
  return labels
}

/** What keeps a namespace from being deleted, in words. */
function contentsOf(tx: Transaction, name: string): string[] {
  const found: string[] = []
  if (tx.list(images, name).length > 0) found.push('images')
  if (tx.list(contents, name).length > 0) found.push('blobs')
  if (tx.list(containers, name).length > 0) found.push('containers')
  const snapshotters = new Set(tx.list(snapshots, name).map(({ id }) => id[1] ?? ''))
  for (const snapshotter of snapshotters) found.push(`snapshots on ${quote(snapshotter)} snapshotter`)
  return found
}
