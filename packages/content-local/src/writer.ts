import { createHash, type Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { now } from '@containerd-ts/api'
import {
  AlreadyExistsError,
  type CommitOptions,
  type ContentInfo,
  type ContentWriter,
  type Context,
  DataLossError,
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
import type { Ingests, IngestState } from './ingests.js'
import type { RefLock } from './ref-locks.js'
import { timestampFromNs } from './stamp.js'

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

/** Opens the writer of a locked ref: resumes its ingest, whose bytes are hashed again, or begins one. */
export async function openWriter(ctx: Context, deps: WriterDeps): Promise<ContentWriter> {
  const { ref, total, ingests } = deps
  const { file, state } = await ingests.open(ref)
  try {
    if (state !== undefined && (total === 0 || state.total === 0 || state.total === total)) {
      const { hash, offset } = await hashFile(file, 'sha256', ctx.signal)
      return new Writer(deps, file, state, hash, offset)
    }
    if (state !== undefined) await file.truncate(0)
    const startedAt = now()
    const fresh = { ref, total, startedAt, updatedAt: startedAt }
    await ingests.save(fresh)
    return new Writer(deps, file, fresh, createHash('sha256'), 0)
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Hashes a file from its beginning, a slice at a time. */
async function hashFile(file: FileHandle, algorithm: string, signal?: AbortSignal): Promise<{ hash: Hash; offset: number }> {
  const hash = createHash(algorithm)
  const buffer = Buffer.allocUnsafe(sliceBytes)
  let offset = 0
  for (;;) {
    signal?.throwIfAborted()
    const { bytesRead } = await file.read(buffer, 0, sliceBytes, offset)
    if (bytesRead === 0) return { hash, offset }
    hash.update(buffer.subarray(0, bytesRead))
    offset += bytesRead
  }
}

class Writer implements ContentWriter {
  readonly #deps: WriterDeps
  readonly #file: FileHandle
  #state: IngestState
  #hash: Hash
  #offset: number
  #digest: string | undefined
  #closed: Promise<void> | undefined

  constructor(deps: WriterDeps, file: FileHandle, state: IngestState, hash: Hash, offset: number) {
    this.#deps = deps
    this.#file = file
    this.#state = state
    this.#hash = hash
    this.#offset = offset
    deps.lock.hold(this)
  }

  status(): IngestStatus {
    return { ...this.#state, offset: this.#offset, expected: '' }
  }

  digest(): string {
    this.#digest ??= `sha256:${this.#hash.copy().digest('hex')}`
    return this.#digest
  }

  async write(data: Uint8Array): Promise<void> {
    this.#assertOpen()
    for (let start = 0; start < data.byteLength; start += sliceBytes) {
      await this.#append(data.subarray(start, start + sliceBytes))
    }
    this.#state = { ...this.#state, updatedAt: now() }
  }

  async #append(slice: Uint8Array): Promise<void> {
    // The kernel takes the bytes while they are hashed here.
    const written = writeAll(this.#file, slice, this.#offset)
    this.#hash.update(slice)
    this.#digest = undefined
    try {
      await written
    } catch (error) {
      // The hash is ahead of the file now; opening the ref again hashes what is there.
      await this.close()
      throw error
    }
    this.#offset += slice.byteLength
  }

  async truncate(): Promise<void> {
    this.#assertOpen()
    await this.#file.truncate(0)
    this.#hash = createHash('sha256')
    this.#digest = undefined
    this.#offset = 0
    this.#state = { ...this.#state, updatedAt: now() }
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
    const { blobs, ingests } = this.#deps
    const { ref } = this.#state
    const size = this.#offset
    validateLabels(labels, 'info.Labels')
    if (sizeBytes !== 0 && sizeBytes !== size) {
      throw new FailedPreconditionError(`${quote(ref)} failed size validation: ${size} != ${sizeBytes}`)
    }
    const digest = await this.#finalDigest(expected)
    if (expected !== '' && expected !== digest) throw new FailedPreconditionError(`unexpected commit digest ${digest}, expected ${expected}`)
    if (await blobs.exists(digest)) {
      await this.#removeIngest()
      throw new AlreadyExistsError(`content ${digest}`)
    }

    const stamp = now()
    const seconds = stamp.seconds + stamp.nanos / 1e9
    await this.#file.chmod(0o444)
    await this.#file.utimes(seconds, seconds)
    await this.#file.sync()
    const createdAt = timestampFromNs((await this.#file.stat({ bigint: true })).mtimeNs)
    const kept = withoutEmptyLabels(labels)
    try {
      await blobs.publish(ingests.dataPath(ref), digest, kept, createdAt)
    } catch (error) {
      if (isAlreadyExists(error)) await this.#removeIngest()
      throw error
    }
    await this.#removeIngest()
    return { digest, sizeBytes: size, createdAt, updatedAt: createdAt, labels: kept }
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
    const { ingests, log, ref } = this.#deps
    try {
      await this.#file.sync()
      await ingests.save(this.#state)
    } catch (error) {
      // An aborted ingest has no directory any more.
      if (!isErrno(error, 'ENOENT')) log.warn('cannot save an unfinished ingest', { ref, error })
    } finally {
      await this.#release()
    }
  }

  async #release(): Promise<void> {
    const { lock, log, ref } = this.#deps
    try {
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

async function writeAll(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let start = 0; start < data.byteLength; ) {
    const { bytesWritten } = await file.write(data, start, data.byteLength - start, position + start)
    if (bytesWritten === 0) throw new DataLossError('short write')
    start += bytesWritten
  }
}
