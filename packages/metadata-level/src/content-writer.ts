import { now } from '@containerd-ts/api'
import {
  AlreadyExistsError,
  type CommitOptions,
  type ContentInfo,
  type ContentStore,
  type ContentWriter,
  type Context,
  FailedPreconditionError,
  type IngestStatus,
  isAlreadyExists,
  type Labels,
  quote,
  UnavailableError,
  validateLabels,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import { attach, detach, ensureNamespace, type StoreDeps } from './deps.js'
import { eventTypes } from './event-types.js'
import type { Limbo } from './limbo.js'
import type { SharedLock } from './shared-lock.js'
import { contents, ingests } from './tables.js'

export interface ContentDeps extends StoreDeps {
  readonly backend: ContentStore
  /** Held shared by whoever changes the backend, alone by whoever sweeps it. */
  readonly lock: SharedLock
  /** Digests that a sweep could not be sure to have deleted. */
  readonly limbo: Limbo
}

/** Where a writer belongs. */
interface Place {
  readonly namespace: string
  readonly ref: string
  readonly backendRef: string
}

const copyBytes = 1 << 20

/** A writer whose bytes are in an ingest of the backend. */
export function ownWriter(deps: ContentDeps, place: Place, writer: ContentWriter): ContentWriter {
  return {
    status: () => ({ ...writer.status(), ref: place.ref, expected: '' }),
    digest: () => writer.digest(),
    write: (data) => writer.write(data),
    truncate: () => writer.truncate(),
    close: () => writer.close(),
    async commit(ctx, options) {
      let labels: Labels
      try {
        labels = checked(options, place, writer.status().offset)
      } catch (error) {
        // An attempt to commit ends a writer, whatever comes of it.
        await writer.close()
        throw error
      }
      return deps.lock.shared(async () => {
        const { offset } = writer.status()
        // Without an expected digest the blob gets the running one.
        const digest = options.expected || writer.digest()
        try {
          await writer.commit(ctx, { ...sizeAndDigest(options) })
        } catch (error) {
          // The backend has the bytes, perhaps for another namespace. It has checked size and digest before it says so.
          if (!isAlreadyExists(error)) throw error
        }
        return finish(deps, ctx, place, { digest, sizeBytes: offset, labels })
      })
    },
  }
}

/**
 * A writer that begins with all bytes of a blob that another namespace has. Nothing is copied when it is committed as it is. Writing
 * more copies first, since the blob must not change; starting again from nothing leaves it alone.
 */
export function sharedWriter(deps: ContentDeps, place: Place, blob: ContentInfo): ContentWriter {
  const openedAt = now()
  let own: ContentWriter | undefined
  let closed = false

  /** An ingest of the backend in place of the shared blob. */
  async function separate(copy: boolean): Promise<ContentWriter> {
    if (closed) throw new FailedPreconditionError(`writer of ref ${quote(place.ref)} is closed`)
    if (own !== undefined) return own
    const { backend, lock } = deps
    // Nobody cancels this: a client that goes away closes the writer.
    const ctx = { namespace: '', signal: new AbortController().signal, log: deps.log }
    const writer = await lock.shared(() => backend.writer(ctx, { ref: place.backendRef }))
    try {
      if (writer.status().offset > 0) await writer.truncate()
      if (copy) await copyBlob(backend, ctx, blob, writer)
    } catch (error) {
      await writer.close()
      throw error
    }
    own = ownWriter(deps, place, writer)
    return own
  }

  return {
    status: (): IngestStatus =>
      own?.status() ?? {
        ref: place.ref,
        offset: blob.sizeBytes,
        total: blob.sizeBytes,
        expected: '',
        startedAt: openedAt,
        updatedAt: openedAt,
      },
    digest: () => own?.digest() ?? blob.digest,
    async write(data) {
      if (own === undefined && data.byteLength === 0) return
      await (await separate(true)).write(data)
    },
    async truncate() {
      await (await separate(false)).truncate()
    },
    async commit(ctx, options) {
      if (own !== undefined) return own.commit(ctx, options)
      if (closed) throw new FailedPreconditionError(`writer of ref ${quote(place.ref)} is closed`)
      closed = true
      const labels = checked(options, place, blob.sizeBytes)
      const { expected = '' } = options
      if (expected !== '' && expected !== blob.digest) throw new FailedPreconditionError(`${quote(place.ref)} unexpected digest`)
      return deps.lock.shared(async () => {
        // The ingest names the blob, so no sweep has taken it; someone else may have.
        const { digest, sizeBytes } = await deps.backend.info(ctx, blob.digest)
        return finish(deps, ctx, place, { digest, sizeBytes, labels })
      })
    },
    async close() {
      closed = true
      await own?.close()
    },
  }
}

/** Makes a blob of the backend visible in a namespace in place of the ingest. @throws AlreadyExistsError */
async function finish(
  { update, publish, dirty, limbo }: ContentDeps,
  ctx: Context,
  { namespace, ref }: Place,
  blob: Pick<ContentInfo, 'digest' | 'sizeBytes' | 'labels'>,
): Promise<ContentInfo> {
  const { digest, sizeBytes, labels } = blob
  const createdAt = now()
  const record = { sizeBytes, labels, createdAt, updatedAt: createdAt }
  let committed = false
  try {
    if (limbo.has(digest)) throw new UnavailableError(`content ${digest} is being deleted by a store that does not answer`)
    const exists = await update((tx) => {
      attach(tx, ctx, namespace, 'content', digest)
      detach(tx, ctx, namespace, 'ingests', ref)
      tx.delete(ingests, namespace, ref)
      if (tx.get(contents, namespace, digest) !== undefined) return true
      ensureNamespace(tx, namespace)
      tx.put(contents, [namespace, digest], record)
      return false
    })
    committed = true
    if (exists) throw new AlreadyExistsError(`content ${digest}`)
  } finally {
    // The bytes are in the backend, but nothing names them.
    if (!committed) dirty.blobs.add(digest)
  }
  await publish(ctx, namespace, '/content/create', eventTypes.contentCreate, { digest, size: sizeBytes })
  return { digest, ...record }
}

/** What the backend would find wrong, said in the words of the namespace; gives back the labels to keep. */
function checked({ sizeBytes = 0, labels = {} }: CommitOptions, { ref }: Place, size: number): Labels {
  validateLabels(labels, 'info.Labels')
  if (sizeBytes !== 0 && sizeBytes !== size) {
    throw new FailedPreconditionError(`${quote(ref)} failed size validation: ${size} != ${sizeBytes}`)
  }
  return withoutEmptyLabels(labels)
}

function sizeAndDigest({ sizeBytes, expected }: CommitOptions): CommitOptions {
  return { ...(sizeBytes !== undefined && { sizeBytes }), ...(expected !== undefined && { expected }) }
}

async function copyBlob(backend: ContentStore, ctx: Context, blob: ContentInfo, writer: ContentWriter): Promise<void> {
  const reader = await backend.reader(ctx, blob.digest)
  try {
    const buffer = Buffer.allocUnsafe(Math.min(copyBytes, blob.sizeBytes))
    for (let offset = 0; offset < reader.sizeBytes; ) {
      const length = await reader.read(buffer, offset)
      if (length === 0) throw new FailedPreconditionError(`content ${blob.digest} ends at ${offset} of ${reader.sizeBytes} bytes`)
      await writer.write(buffer.subarray(0, length))
      offset += length
    }
  } finally {
    await reader.close()
  }
}
