import { now } from '@containerd-ts/api'
import { fieldOfLabels, parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  type ContentInfo,
  type ContentStore,
  type Context,
  DataLossError,
  type IngestStatus,
  InvalidArgumentError,
  isNotFound,
  NotFoundError,
  requireNamespace,
  updatedLabels,
  validateDigest,
  validateLabels,
  type WriterOptions,
} from '@containerd-ts/interface'
import type { ContentSharingPolicy } from './config.js'
import { type ContentDeps, ownWriter, sharedWriter } from './content-writer.js'
import type { View } from './database.js'
import { attach, detach, ensureNamespace, requireLease } from './deps.js'
import { eventTypes } from './event-types.js'
import { Turns } from './pace.js'
import { type ContentRecord, contents, type IngestRecord, ingests, namespaces } from './tables.js'

const shareableLabel = 'containerd.io/namespace.shareable'
const ingestLifetimeMs = 24 * 60 * 60 * 1000

/** The view that each namespace has of a content store: bytes are kept once, and each namespace sees what it has committed itself. */
export function createContentView(deps: ContentDeps, policy: ContentSharingPolicy): ContentStore {
  const { view, update, publish, dirty, backend, lock } = deps
  return {
    async info(ctx, digest) {
      validateDigest(digest)
      return infoOf(digest, requireRecord(view, requireNamespace(ctx), digest))
    },

    async update(ctx, { digest, labels }, fieldpaths) {
      validateDigest(digest)
      const namespace = requireNamespace(ctx)
      return lock.shared(() =>
        update((tx) => {
          const current = requireRecord(tx, namespace, digest)
          const next = {
            ...current,
            labels: updatedLabels(current.labels, labels, fieldpaths, `content info "${digest}"`),
            updatedAt: now(),
          }
          validateLabels(next.labels, 'info.Labels')
          tx.put(contents, [namespace, digest], next)
          return infoOf(digest, next)
        }),
      )
    },

    async *walk(ctx, filters) {
      const namespace = requireNamespace(ctx)
      const matches = parseFilters(filters)
      const turns = new Turns()
      for (const { id, record } of view.scan(contents, namespace)) {
        if (turns.isOver) await turns.pass()
        const info = infoOf(id[1] ?? '', record)
        if (matches(contentField(info))) yield info
      }
    },

    async delete(ctx, digest) {
      validateDigest(digest)
      const namespace = requireNamespace(ctx)
      await lock.shared(() =>
        update((tx) => {
          requireRecord(tx, namespace, digest)
          tx.delete(contents, namespace, digest)
          detach(tx, ctx, namespace, 'content', digest)
          tx.afterwards(() => {
            dirty.markDeleted()
            dirty.blobs.add(digest)
          })
        }),
      )
      await publish(ctx, namespace, '/content/delete', eventTypes.contentDelete, { digest })
    },

    async reader(ctx, digest) {
      validateDigest(digest)
      const { sizeBytes } = requireRecord(view, requireNamespace(ctx), digest)
      const reader = await backend.reader(ctx, digest)
      if (reader.sizeBytes === sizeBytes) return reader
      await reader.close()
      throw new DataLossError(`content ${digest} is damaged: it has ${reader.sizeBytes} bytes, ${sizeBytes} were committed`)
    },

    async status(ctx, ref) {
      const record = view.get(ingests, requireNamespace(ctx), ref)
      const status = record && (await backendStatus(ctx, ref, record))
      if (status === undefined) throw new NotFoundError(`could not get status for ref "${ref}": reference ${ref}`)
      return status
    },

    async listStatuses(ctx, filters) {
      const namespace = requireNamespace(ctx)
      const matches = parseFilters(filters)
      const entries = view.list(ingests, namespace).map(({ id, record }) => ({ ref: id[1] ?? '', record }))
      const asked = entries.filter(({ ref }) =>
        matches(([field, ...rest]) => (field === 'ref' && rest.length === 0 ? ref : undefined)),
      )
      const statuses = await Promise.all(asked.map(({ ref, record }) => backendStatus(ctx, ref, record)))
      return statuses.filter((status) => status !== undefined)
    },

    async abort(ctx, ref) {
      const namespace = requireNamespace(ctx)
      await lock.shared(async () => {
        const record = await update((tx) => {
          const found = tx.get(ingests, namespace, ref)
          if (found === undefined) throw new NotFoundError(`reference ${ref}`)
          tx.delete(ingests, namespace, ref)
          detach(tx, ctx, namespace, 'ingests', ref)
          tx.afterwards(() => dirty.addIngest(found))
          return found
        })
        // A shared ingest may have no bytes of its own.
        await backend.abort(ctx, record.backend).catch(unlessNotFound)
      })
    },

    async writer(ctx, options) {
      const namespace = requireNamespace(ctx)
      if (options.ref === '') throw new InvalidArgumentError('ref must not be empty')
      return lock.shared(() => open(ctx, namespace, options))
    },
  }

  async function open(ctx: Context, namespace: string, { ref, total = 0, expected = '' }: WriterOptions) {
    requireLease(view, ctx, namespace)
    await failIfCommitted(ctx, namespace, expected)
    const backendRef = view.get(ingests, namespace, ref)?.backend ?? `${namespace}/1/${ref}`
    const shared = await sharedBlob(ctx, expected, total)
    if (shared !== undefined) {
      await record(ctx, namespace, ref, { backend: backendRef, expected })
      return sharedWriter(deps, { namespace, ref, backendRef }, shared)
    }

    const writer = await backend.writer(ctx, { ref: backendRef, total })
    try {
      await record(ctx, namespace, ref, { backend: backendRef })
    } catch (error) {
      await writer.close()
      // Nothing remembers an ingest that was begun just now.
      if (view.get(ingests, namespace, ref) === undefined) {
        await backend.abort(ctx, backendRef).catch(() => dirty.ingests.add(backendRef))
      }
      throw error
    }
    return ownWriter(deps, { namespace, ref, backendRef }, writer)
  }

  /** The lease keeps what is there already, too. @throws AlreadyExistsError */
  async function failIfCommitted(ctx: Context, namespace: string, expected: string): Promise<void> {
    if (expected === '' || view.get(contents, namespace, expected) === undefined) return
    const exists = await update((tx) => {
      if (tx.get(contents, namespace, expected) === undefined) return false
      attach(tx, ctx, namespace, 'content', expected)
      return true
    })
    if (exists) throw new AlreadyExistsError(`content ${expected}`)
  }

  async function record(ctx: Context, namespace: string, ref: string, ingest: IngestRecord): Promise<void> {
    const leased = ctx.lease !== undefined && ctx.lease !== ''
    await update(
      (tx) => {
        attach(tx, ctx, namespace, 'ingests', ref)
        ensureNamespace(tx, namespace)
        tx.put(ingests, [namespace, ref], leased ? ingest : { ...ingest, expiresAtMs: Date.now() + ingestLifetimeMs })
      },
      // Bytes written so far are not synced either: after a power failure the client begins anew.
      { durable: false },
    )
  }

  /** The blob of another namespace that a writer may begin from. */
  async function sharedBlob(ctx: Context, expected: string, total: number): Promise<ContentInfo | undefined> {
    if (expected === '' || !isOffered(view, policy, expected)) return undefined
    try {
      const info = await backend.info(ctx, expected)
      return total === 0 || total === info.sizeBytes ? info : undefined
    } catch (error) {
      return unlessNotFound(error)
    }
  }

  async function backendStatus(ctx: Context, ref: string, record: IngestRecord): Promise<IngestStatus | undefined> {
    try {
      return { ...(await backend.status(ctx, record.backend)), ref, expected: '' }
    } catch (error) {
      return unlessNotFound(error)
    }
  }
}

/** True when a namespace has the blob and lets others begin from it. */
function isOffered(view: View, policy: ContentSharingPolicy, digest: string): boolean {
  return view
    .list(namespaces)
    .filter(({ record }) => policy === 'shared' || record.labels[shareableLabel] === 'true')
    .some(({ id: [name = ''] }) => view.get(contents, name, digest) !== undefined)
}

function requireRecord(view: View, namespace: string, digest: string): ContentRecord {
  const record = view.get(contents, namespace, digest)
  if (record === undefined) throw new NotFoundError(`content digest ${digest}`)
  return record
}

function infoOf(digest: string, record: ContentRecord): ContentInfo {
  return { digest, ...record }
}

function contentField(info: ContentInfo) {
  return ([field, ...rest]: readonly string[]): string | undefined => {
    if (field === 'digest') return info.digest
    return field === 'labels' ? fieldOfLabels(info.labels, rest) : undefined
  }
}

function unlessNotFound(error: unknown): undefined {
  if (!isNotFound(error)) throw error
}
