import { mkdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Timestamp } from '@containerd-ts/api'
import { AlreadyExistsError, type ContentInfo, DataLossError, digestProblem, isErrno, isNotFound, type Labels, NotFoundError, parseDigest } from '@containerd-ts/interface'
import { DirectorySync } from './directory-sync.js'
import { entries } from './entries.js'
import { KeyedMutex } from './keyed-mutex.js'
import { replaceFile } from './replace-file.js'
import { isTimestamp, timestampFromNs } from './stamp.js'

interface LabelFile {
  labels: Labels
  updatedAt: Timestamp
}

// Enough to keep the thread pool busy without queueing everything at once.
const parallelStats = 16

/** Committed blobs and their labels. Digests given to it are well-formed. */
export class Blobs {
  readonly #mutex = new KeyedMutex()
  readonly #directories = new DirectorySync()

  constructor(readonly root: string) {}

  path(digest: string): string {
    return this.#path('blobs', digest)
  }

  /** Runs `operation` while no other changes the same blob. */
  exclusively<T>(digest: string, operation: () => Promise<T>): Promise<T> {
    return this.#mutex.run(digest, operation)
  }

  async exists(digest: string): Promise<boolean> {
    try {
      await stat(this.path(digest))
      return true
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false
      throw error
    }
  }

  /** @throws NotFoundError */
  async info(digest: string): Promise<ContentInfo> {
    try {
      const [{ size, mtimeNs }, file] = await Promise.all([stat(this.path(digest), { bigint: true }), this.#readLabels(digest)])
      const createdAt = timestampFromNs(mtimeNs)
      return { digest, sizeBytes: Number(size), createdAt, updatedAt: file?.updatedAt ?? createdAt, labels: file?.labels ?? {} }
    } catch (cause) {
      if (isErrno(cause, 'ENOENT')) throw new NotFoundError(`content digest ${digest}`, { cause })
      throw cause
    }
  }

  /**
   * Gives the synced file at `from` its name.
   *
   * @throws AlreadyExistsError when the name is taken; `from` stays.
   */
  async publish(from: string, digest: string, labels: Labels, createdAt: Timestamp): Promise<void> {
    const path = this.path(digest)
    await this.exclusively(digest, async () => {
      if (await this.exists(digest)) throw new AlreadyExistsError(`content ${digest}`)
      // Labels first: a blob is never seen without them. Left-overs of a crash are overwritten or, having no blob, not seen.
      if (Object.keys(labels).length > 0) await this.writeLabels(digest, { labels, updatedAt: createdAt })
      try {
        await rename(from, path)
      } catch (error) {
        if (!isErrno(error, 'ENOENT') || (await exists(dirname(path)))) throw error
        await mkdir(dirname(path), { recursive: true, mode: 0o755 })
        await this.#directories.sync(join(this.root, 'blobs'))
        await rename(from, path)
      }
    })
    await this.#directories.sync(dirname(path))
  }

  async writeLabels(digest: string, file: LabelFile): Promise<void> {
    const path = this.#path('labels', digest)
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await replaceFile(path, JSON.stringify(file), { flush: true })
    await this.#directories.sync(dirname(path))
  }

  /** @throws NotFoundError */
  async delete(digest: string): Promise<void> {
    try {
      await unlink(this.path(digest))
    } catch (cause) {
      if (isErrno(cause, 'ENOENT')) throw new NotFoundError(`content digest ${digest}`, { cause })
      throw cause
    }
    await rm(this.#path('labels', digest), { force: true })
  }

  /** All blobs; what is deleted meanwhile may be left out. */
  async *walk(): AsyncIterable<ContentInfo> {
    for (const algorithm of ['sha256', 'sha384', 'sha512']) {
      let batch: string[] = []
      for await (const name of entries(join(this.root, 'blobs', algorithm))) {
        const digest = `${algorithm}:${name}`
        if (digestProblem(digest) !== undefined) continue
        batch.push(digest)
        if (batch.length < parallelStats) continue
        yield* await this.#infos(batch)
        batch = []
      }
      yield* await this.#infos(batch)
    }
  }

  async #infos(digests: readonly string[]): Promise<ContentInfo[]> {
    const infos = await Promise.all(digests.map((digest) => this.info(digest).catch((error: unknown) => ifGone(error))))
    return infos.filter((info) => info !== undefined)
  }

  async #readLabels(digest: string): Promise<LabelFile | undefined> {
    const path = this.#path('labels', digest)
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      throw error
    }
    const file: unknown = JSON.parse(text)
    if (!isLabelFile(file)) throw new DataLossError(`labels of content ${digest} are damaged`)
    return file
  }

  #path(kind: 'blobs' | 'labels', digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.root, kind, algorithm, hex)
  }
}

function ifGone(error: unknown): undefined {
  if (isNotFound(error)) return undefined
  throw error
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function isLabelFile(value: unknown): value is LabelFile {
  return (
    typeof value === 'object' &&
    value !== null &&
    'labels' in value &&
    typeof value.labels === 'object' &&
    value.labels !== null &&
    Object.values(value.labels).every((label) => typeof label === 'string') &&
    'updatedAt' in value &&
    isTimestamp(value.updatedAt)
  )
}
