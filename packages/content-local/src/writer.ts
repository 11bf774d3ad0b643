import { createHash, type Hash } from 'node:crypto'
import { chmod } from 'node:fs/promises'
import { now, type Timestamp } from '@containerd-ts/api'
import {
  AlreadyExistsError,
  type CommitOptions,
  type ContentInfo,
  type ContentWriter,
  type Context,
  digestProblem,
  FailedPreconditionError,
  type IngestStatus,
  isAlreadyExists,
  isErrno,
  isNotFound,
  parseDigest,
  quote,
  validateLabels,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type { Blobs } from './blobs.js'
import { File } from './file.js'
import type { Ingest, Ingests } from './ingests.js'
import type { RefLock } from './ref-locks.js'
import { microsOf, roundedDown, roundedUp } from './stamp.js'

export interface WriterDeps {
  ref: string
  total: number
  blobs: Blobs
  ingests: Ingests
  lock: RefLock
  log: Logger
}

// Hashing a mebibyte takes about 0.7 ms, which is as long as one client may keep the others waiting.
const sliceBytes = 1 << 20
// So much goes to the disk at a time while more is on its way, so that a commit does not wait for all of it.
const syncEveryBytes = 16 << 20

/** Opens the writer of a locked ref: resumes its ingest, whose bytes are hashed again, or begins one. */
export async function openWriter(ctx: Context, deps: WriterDeps): Promise<ContentWriter> {
  const { ref, total, ingests } = deps
  const found = ingests.get(ref)
  if (found !== undefined) {
    const file = total === 0 || found.total === 0 || found.total === total ? await reopen(found.path) : undefined
    if (file !== undefined) {
      try {
        const { updatedAt } = await ingests.status(ref)
        const { hash, offset } = await hashFile(file, 'sha256', ctx.signal)
        return new Writer(deps, found, file, { updatedAt, hash, offset })
      } catch (error) {
        await file.close()
        throw error
      }
    }
    await ingests.remove(ref)
  }
  const startedAt = roundedUp(now())
  const { ingest, file } = await ingests.begin(ref, total, startedAt)
  return new Writer(deps, ingest, file, { updatedAt: startedAt, hash: createHash('sha256'), offset: 0 })
}

/** Opens the bytes of an ingest, which are read-only for others, undefined when they are gone. */
async function reopen(path: string): Promise<File | undefined> {
  try {
    return await File.open(path, 'r+').catch(async (error: unknown) => {
      if (!isErrno(error, 'EACCES')) throw error
      // Without privileges even the owner has to permit it first.
      await chmod(path, 0o644)
      const file = await File.open(path, 'r+')
      file.chmod(0o444)
      return file
    })
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Hashes a file from its beginning, a slice at a time. */
async function hashFile(file: File, algorithm: string, signal?: AbortSignal): Promise<{ hash: Hash; offset: number }> {
  const hash = createHash(algorithm)
  const buffer = Buffer.allocUnsafe(sliceBytes)
  for (let offset = 0; ; ) {
    signal?.throwIfAborted()
    const length = await file.read(buffer, offset)
    hash.update(buffer.subarray(0, length))
    offset += length
    if (length < sliceBytes) return { hash, offset }
  }
}

/** How far a write has come. */
interface Progress {
  updatedAt: Timestamp
  hash: Hash
  offset: number
}

class Writer implements ContentWriter {
  readonly #deps: WriterDeps
  readonly #ingest: Ingest
  readonly #file: File
  #progress: Progress
  #digest: string | undefined
  #closed: Promise<void> | undefined
  /** Bytes since the last early sync. */
  #unsynced = 0
  /** The early syncs so far. The kernel tells a failure once, so it is kept until the commit. */
  #syncing: Promise<void> = Promise.resolve()

  constructor(deps: WriterDeps, ingest: Ingest, file: File, progress: Progress) {
    this.#deps = deps
    this.#ingest = ingest
    this.#file = file
    this.#progress = progress
    deps.lock.hold(this)
  }

  status(): IngestStatus {
    const { ref, total, startedAt } = this.#ingest
    const { offset, updatedAt } = this.#progress
    return { ref, offset, total, expected: '', startedAt, updatedAt }
  }

  digest(): string {
    this.#digest ??= `sha256:${this.#progress.hash.copy().digest('hex')}`
    return this.#digest
  }

  async write(data: Uint8Array): Promise<void> {
    this.#assertOpen()
    for (let start = 0; start < data.byteLength; start += sliceBytes) {
      await this.#append(data.subarray(start, start + sliceBytes))
    }
    this.#progress.updatedAt = roundedDown(now())
  }

  async #append(slice: Uint8Array): Promise<void> {
    const { hash, offset } = this.#progress
    // The kernel takes the bytes while they are hashed here.
    const written = this.#file.write(slice, offset)
    hash.update(slice)
    this.#digest = undefined
    try {
      await written
    } catch (error) {
      // The hash is ahead of the file now; opening the ref again hashes what is there.
      await this.close()
      throw error
    }
    this.#progress.offset += slice.byteLength
    this.#unsynced += slice.byteLength
    if (this.#unsynced >= syncEveryBytes) this.#syncEarly()
  }

  #syncEarly(): void {
    this.#unsynced = 0
    this.#syncing = this.#syncing.then(() => this.#file.syncData())
    // Whoever commits hears of it.
    this.#syncing.catch(() => {})
  }

  async truncate(): Promise<void> {
    this.#assertOpen()
    await this.#file.truncate()
    this.#progress = { updatedAt: roundedDown(now()), hash: createHash('sha256'), offset: 0 }
    this.#digest = undefined
  }

  async commit(_ctx: Context, options: CommitOptions): Promise<ContentInfo> {
    this.#assertOpen()
    const committed = this.#publish(options)
    this.#closed = committed.then(
      () => this.#release(),
      (error) => (isAlreadyExists(error) ? this.#release() : this.#suspend()),
    )
    try {
      return await committed
    } finally {
      await this.#closed
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#suspend()
    return this.#closed
  }

  async #publish({ sizeBytes = 0, expected = '', labels = {} }: CommitOptions): Promise<ContentInfo> {
    const { blobs, ingests, ref } = this.#deps
    const { offset } = this.#progress
    validateLabels(labels, 'info.Labels')
    if (sizeBytes !== 0 && sizeBytes !== offset) {
      throw new FailedPreconditionError(`${quote(ref)} failed size validation: ${offset} != ${sizeBytes}`)
    }
    const digest = await this.#finalDigest(expected)
    if (expected !== '' && expected !== digest) {
      throw new FailedPreconditionError(`unexpected commit digest ${digest}, expected ${expected}`)
    }
    if (await blobs.exists(digest)) {
      await this.#removeIngest()
      throw new AlreadyExistsError(`content ${digest}`)
    }
    // The time of the file is the time of the blob. The kernel's own stamps lag by milliseconds.
    const createdAt = roundedUp(now())
    this.#file.touch(microsOf(createdAt))
    await this.#syncing
    await this.#file.sync()
    const kept = withoutEmptyLabels(labels)
    try {
      await blobs.publish(this.#ingest.path, digest, kept, createdAt)
    } catch (error) {
      if (isAlreadyExists(error)) await this.#removeIngest()
      throw error
    }
    ingests.forget(this.#ingest)
    this.#file.closeSync()
    return { digest, sizeBytes: offset, createdAt, updatedAt: createdAt, labels: kept }
  }

  /** Bytes are hashed with sha256 as they come; who expects another algorithm has them hashed once more. */
  async #finalDigest(expected: string): Promise<string> {
    if (expected === '' || digestProblem(expected) !== undefined) return this.digest()
    const { algorithm } = parseDigest(expected)
    if (algorithm === 'sha256') return this.digest()
    const { hash } = await hashFile(this.#file, algorithm)
    return `${algorithm}:${hash.digest('hex')}`
  }

  async #removeIngest(): Promise<void> {
    const { ingests, log, ref } = this.#deps
    await ingests.remove(ref).catch((error: unknown) => {
      if (!isNotFound(error)) log.debug('cannot remove a finished ingest', { ref, error })
    })
  }

  /** Leaves the ingest for a later writer. */
  async #suspend(): Promise<void> {
    const { lock, log, ref } = this.#deps
    lock.closing()
    try {
      await this.#syncing
      this.#file.touch(microsOf(this.#progress.updatedAt))
      await this.#file.sync()
    } catch (error) {
      log.warn('cannot save an unfinished ingest', { ref, error })
    } finally {
      await this.#release()
    }
  }

  async #release(): Promise<void> {
    const { lock, log, ref } = this.#deps
    lock.closing()
    try {
      await this.#syncing.catch(() => {})
      await this.#file.close()
    } catch (error) {
      log.debug('cannot close an ingest', { ref, error })
    } finally {
      lock.release()
    }
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw new FailedPreconditionError(`writer of ref ${quote(this.#deps.ref)} is closed`)
  }
}
