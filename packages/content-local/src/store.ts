import { join } from 'node:path'
import { now } from '@containerd-ts/api'
import { fieldOfLabels, parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  type ContentInfo,
  type ContentStore,
  digestProblem,
  type IngestStatus,
  InvalidArgumentError,
  isNotFound,
  updatedLabels,
  validateDigest,
  validateLabels,
} from '@containerd-ts/interface'
import { type Logger, silentLogger } from '@containerd-ts/plugin'
import { Blobs } from './blobs.js'
import { Ingests } from './ingests.js'
import { Readers } from './reader.js'
import { RefLocks } from './ref-locks.js'
import { openWriter } from './writer.js'

/** Where a content store lies. */
export interface ContentStoreOptions {
  /** Directory of the store; created when missing. */
  root: string
  log?: Logger
}

/** A content store that gives back what it holds of the system. */
export interface LocalContentStore extends ContentStore {
  /** Writers and readers are closed by those who have them, before. */
  close(): Promise<void>
}

/**
 * Opens a content store in a directory:
 *
 *     blobs/<algorithm>/<hex>         committed bytes, read-only
 *     labels/<algorithm>/<hex>        JSON: labels and the time of their last change; absent when there are none
 *     ingest/r<ref>.<total>.<start>   bytes of an unfinished write; the ref in base64url, the start in microseconds since 1970
 *     ingest/h<sha256>.<total>.<start>  the same for a long ref, which is in
 *     ingest/h<sha256>.ref
 *
 * A blob gets its name only after its bytes are on disk. The names and the locks of refs are in memory, so a directory has one store
 * at a time. Namespaces mean nothing here.
 */
export async function createContentStore(options: ContentStoreOptions): Promise<LocalContentStore> {
  const { root, log = silentLogger } = options
  const blobs = await Blobs.open(root)
  const ingests = await Ingests.open(join(root, 'ingest'))
  const locks = new RefLocks()
  const readers = new Readers()

  return {
    async info(_ctx, digest) {
      validateDigest(digest)
      return blobs.info(digest)
    },

    async update(_ctx, { digest, labels }, fieldpaths) {
      validateDigest(digest)
      return blobs.exclusively(digest, async () => {
        const info = await blobs.info(digest)
        const next = updatedLabels(info.labels, labels, fieldpaths, `content info "${digest}"`)
        validateLabels(next, 'info.Labels')
        const updatedAt = now()
        await blobs.writeLabels(digest, { labels: next, updatedAt })
        return { ...info, labels: next, updatedAt }
      })
    },

    async *walk(ctx, filters) {
      const matches = parseFilters(filters)
      for await (const info of blobs.walk()) {
        ctx.signal.throwIfAborted()
        if (matches(contentField(info))) yield info
      }
    },

    async delete(_ctx, digest) {
      validateDigest(digest)
      await blobs.exclusively(digest, () => blobs.delete(digest))
      await readers.forget(digest)
    },

    async reader(_ctx, digest) {
      validateDigest(digest)
      return readers.open(blobs.path(digest), digest)
    },

    async status(_ctx, ref) {
      return locks.writer(ref)?.status() ?? ingests.status(ref)
    },

    async listStatuses(_ctx, filters) {
      const matches = parseFilters(filters)
      const refs = ingests
        .refs()
        .filter((ref) => matches(([field, ...rest]) => (field === 'ref' && rest.length === 0 ? ref : undefined)))
      const statuses: IngestStatus[] = []
      for (const ref of refs) {
        try {
          statuses.push(locks.writer(ref)?.status() ?? (await ingests.status(ref)))
        } catch (error) {
          // Done since.
          if (!isNotFound(error)) throw error
        }
      }
      return statuses
    },

    async abort(_ctx, ref) {
      // The writer may go on, but what it writes is nowhere any more.
      locks.disown(ref)
      await ingests.remove(ref)
    },

    async writer(ctx, { ref, total = 0, expected = '' }) {
      if (ref === '') throw new InvalidArgumentError('ref must not be empty')
      const lock = await locks.acquire(ref)
      try {
        if (expected !== '' && digestProblem(expected) === undefined && (await blobs.exists(expected))) {
          throw new AlreadyExistsError(`content ${expected}`)
        }
        return await openWriter(ctx, { ref, total, blobs, ingests, lock, log })
      } catch (error) {
        lock.release()
        throw error
      }
    },

    async close() {
      await readers.close()
      await blobs.close()
    },
  }
}

function contentField(info: ContentInfo) {
  return ([field, ...rest]: readonly string[]): string | undefined => {
    if (field === 'digest') return info.digest
    return field === 'labels' ? fieldOfLabels(info.labels, rest) : undefined
  }
}
