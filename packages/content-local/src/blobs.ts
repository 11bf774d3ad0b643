import { mkdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Timestamp } from '@containerd-ts/api'
import {
  AlreadyExistsError,
  type ContentInfo,
  DataLossError,
  digestProblem,
  isErrno,
  isNotFound,
  type Labels,
  NotFoundError,
  parseDigest,
} from '@containerd-ts/interface'
import { DirectorySync } from './directory-sync.js'
import { entries } from './entries.js'
import { KeyedMutex } from './keyed-mutex.js'
import { replaceFile } from './replace-file.js'
import { isTimestamp, timestampOfNs } from './stamp.js'

interface LabelFile {
  labels: Labels
  updatedAt: Timestamp
}

export const algorithms = ['sha256', 'sha384', 'sha512'] as const

// Enough to keep the thread pool busy without queueing everything at once.
const parallelStats = 16

/** Committed blobs and their labels. Digests given to it are well-formed. */
export class Blobs {
  readonly #root: string
  /** What there is, so that asking for what is not there takes no look at the disk. */
  readonly #digests: Set<string>
  readonly #labelled: Set<string>
  readonly #mutex = new KeyedMutex()
  readonly #directories = new DirectorySync()

  private constructor(root: string, digests: Set<string>, labelled: Set<string>) {
    this.#root = root
    this.#digests = digests
    this.#labelled = labelled
  }

  /** Makes the directories and reads the names in them. */
  static async open(root: string): Promise<Blobs> {
    for (const algorithm of algorithms) {
      await mkdir(join(root, 'blobs', algorithm), { recursive: true, mode: 0o755 })
      await mkdir(join(root, 'labels', algorithm), { recursive: true, mode: 0o755 })
    }
    return new Blobs(root, await digestsIn(join(root, 'blobs')), await digestsIn(join(root, 'labels')))
  }

  path(digest: string): string {
    return this.#path('blobs', digest)
  }

  /** Runs `operation` while no other changes the same blob. */
  exclusively<T>(digest: string, operation: () => Promise<T>): Promise<T> {
    return this.#mutex.run(digest, operation)
  }

  async exists(digest: string): Promise<boolean> {
    if (!this.#digests.has(digest)) return false
    try {
      await stat(this.path(digest))
      return true
    } catch (error) {
      // Somebody else has deleted it: better to take it again than to claim that it is there.
      if (isErrno(error, 'ENOENT')) this.#digests.delete(digest)
      else throw error
      return false
    }
  }

  /** @throws NotFoundError */
  async info(digest: string): Promise<ContentInfo> {
    if (!this.#digests.has(digest)) throw notFound(digest)
    try {
      const [{ size, mtimeNs }, file] = await Promise.all([stat(this.path(digest), { bigint: true }), this.#readLabels(digest)])
      const createdAt = timestampOfNs(mtimeNs)
      return { digest, sizeBytes: Number(size), createdAt, updatedAt: file?.updatedAt ?? createdAt, labels: file?.labels ?? {} }
    } catch (cause) {
      if (isErrno(cause, 'ENOENT')) throw notFound(digest, cause)
      throw cause
    }
  }

  /**
   * Gives the synced file at `from` its name; settles when that is on disk.
   *
   * @throws AlreadyExistsError when the name is taken; `from` stays.
   */
  async publish(from: string, digest: string, labels: Labels, createdAt: Timestamp): Promise<void> {
    const path = this.path(digest)
    await this.exclusively(digest, async () => {
      if (await this.exists(digest)) throw new AlreadyExistsError(`content ${digest}`)
      // Labels first: a blob is never seen without them, and labels without a blob are not seen at all.
      if (Object.keys(labels).length > 0) await this.writeLabels(digest, { labels, updatedAt: createdAt })
      else if (this.#labelled.has(digest)) await this.#deleteLabels(digest)
      await rename(from, path)
      this.#digests.add(digest)
    })
    await this.#directories.sync(dirname(path))
  }

  async writeLabels(digest: string, file: LabelFile): Promise<void> {
    const path = this.#path('labels', digest)
    await replaceFile(path, JSON.stringify(file))
    this.#labelled.add(digest)
    await this.#directories.sync(dirname(path))
  }

  /** @throws NotFoundError */
  async delete(digest: string): Promise<void> {
    if (!this.#digests.has(digest)) throw notFound(digest)
    try {
      await unlink(this.path(digest))
    } catch (cause) {
      if (!isErrno(cause, 'ENOENT')) throw cause
      throw notFound(digest, cause)
    } finally {
      this.#digests.delete(digest)
    }
    if (this.#labelled.has(digest)) await this.#deleteLabels(digest)
  }

  /** All blobs, as there are now; what is deleted meanwhile may be left out. */
  async *walk(): AsyncIterable<ContentInfo> {
    const digests = [...this.#digests].sort()
    for (let start = 0; start < digests.length; start += parallelStats) {
      const infos = await Promise.all(
        digests.slice(start, start + parallelStats).map((digest) =>
          this.info(digest).catch((error: unknown) => {
            if (!isNotFound(error)) throw error
            return undefined
          }),
        ),
      )
      for (const info of infos) if (info !== undefined) yield info
    }
  }

  /** Closes what is kept open. */
  close(): Promise<void> {
    return this.#directories.close()
  }

  async #deleteLabels(digest: string): Promise<void> {
    await rm(this.#path('labels', digest), { force: true })
    this.#labelled.delete(digest)
  }

  async #readLabels(digest: string): Promise<LabelFile | undefined> {
    if (!this.#labelled.has(digest)) return undefined
    let text: string
    try {
      text = await readFile(this.#path('labels', digest), 'utf8')
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      throw error
    }
    const file = parseLabels(text)
    if (file === undefined) throw new DataLossError(`labels of content ${digest} are damaged`)
    return file
  }

  #path(kind: 'blobs' | 'labels', digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.#root, kind, algorithm, hex)
  }
}

async function digestsIn(directory: string): Promise<Set<string>> {
  const digests = new Set<string>()
  for (const algorithm of algorithms) {
    for await (const name of entries(join(directory, algorithm))) {
      const digest = `${algorithm}:${name}`
      if (digestProblem(digest) === undefined) digests.add(digest)
    }
  }
  return digests
}

function notFound(digest: string, cause?: unknown): Error {
  return new NotFoundError(`content digest ${digest}`, { cause })
}

function parseLabels(text: string): LabelFile | undefined {
  try {
    const file: unknown = JSON.parse(text)
    return isLabelFile(file) ? file : undefined
  } catch {
    return undefined
  }
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
