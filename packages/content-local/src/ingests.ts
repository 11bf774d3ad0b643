import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Timestamp } from '@containerd-ts/api'
import { type IngestStatus, isErrno, NotFoundError } from '@containerd-ts/interface'
import { entries } from './entries.js'
import { File } from './file.js'
import { KeyedMutex } from './keyed-mutex.js'
import { microsOf, timestampOfMicros, timestampOfNs } from './stamp.js'

/** An unfinished write, from its first writer to its last. */
export interface Ingest {
  readonly ref: string
  readonly total: number
  readonly startedAt: Timestamp
  /** The file of its bytes. */
  readonly path: string
}

// A file name has at most 255 bytes; longer refs are in a file of their own.
const maxNamedRef = 160
const pattern = /^([rh][\w-]+)\.(\d+)\.(\d+)$/

/**
 * Unfinished writes. All that is to be remembered of one is in the name and the times of the file that holds its bytes, since making
 * files is most of what a small blob costs.
 */
export class Ingests {
  readonly #directory: string
  readonly #ingests = new Map<string, Ingest>()
  readonly #mutex = new KeyedMutex()

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** Reads what is there and removes what is not of use. */
  static async open(directory: string): Promise<Ingests> {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const ingests = new Ingests(directory)
    const used = new Set<string>()
    const names: string[] = []
    for await (const name of entries(directory)) names.push(name)
    for (const name of names) {
      const ingest = await ingests.#parse(name)
      if (ingest === undefined) continue
      ingests.#ingests.set(ingest.ref, ingest)
      used.add(name).add(`${name.split('.')[0]}.ref`)
    }
    for (const name of names) if (!used.has(name)) await rm(join(directory, name), { recursive: true, force: true })
    return ingests
  }

  async #parse(name: string): Promise<Ingest | undefined> {
    const [, label = '', total, started] = pattern.exec(name) ?? []
    if (total === undefined || started === undefined) return undefined
    const ref = label.startsWith('r') ? Buffer.from(label.slice(1), 'base64url').toString() : await this.#readRef(label)
    if (ref === undefined || labelOf(ref) !== label) return undefined
    return { ref, total: Number(total), startedAt: timestampOfMicros(Number(started)), path: join(this.#directory, name) }
  }

  async #readRef(label: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.#directory, `${label}.ref`), 'utf8')
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      throw error
    }
  }

  get(ref: string): Ingest | undefined {
    return this.#ingests.get(ref)
  }

  refs(): string[] {
    return [...this.#ingests.keys()]
  }

  /** Begins an ingest with an empty file. Its ref must have none. */
  begin(ref: string, total: number, startedAt: Timestamp): Promise<{ ingest: Ingest; file: File }> {
    return this.#mutex.run(ref, async () => {
      const label = labelOf(ref)
      if (label.startsWith('h')) await writeFile(join(this.#directory, `${label}.ref`), ref, { mode: 0o600 })
      const ingest = { ref, total, startedAt, path: join(this.#directory, `${label}.${total}.${microsOf(startedAt)}`) }
      // A committed blob is read-only, so it is from the beginning.
      const file = await File.open(ingest.path, 'w+', 0o444)
      this.#ingests.set(ref, ingest)
      return { ingest, file }
    })
  }

  /** The bytes of the ingest have become a blob. */
  forget(ingest: Ingest): void {
    if (this.#ingests.get(ingest.ref) === ingest) this.#ingests.delete(ingest.ref)
  }

  /** @throws NotFoundError */
  remove(ref: string): Promise<void> {
    return this.#mutex.run(ref, async () => {
      const ingest = this.#ingests.get(ref)
      if (ingest === undefined) throw notFound(ref)
      this.#ingests.delete(ref)
      await unlink(ingest.path).catch((error: unknown) => {
        if (!isErrno(error, 'ENOENT')) throw error
      })
    })
  }

  /** @throws NotFoundError */
  async status(ref: string): Promise<IngestStatus> {
    const ingest = this.#ingests.get(ref)
    if (ingest === undefined) throw notFound(ref)
    try {
      const { size, mtimeNs } = await stat(ingest.path, { bigint: true })
      const { total, startedAt } = ingest
      return { ref, offset: Number(size), total, expected: '', startedAt, updatedAt: timestampOfNs(mtimeNs) }
    } catch (cause) {
      if (isErrno(cause, 'ENOENT')) throw notFound(ref)
      throw cause
    }
  }
}

/** What stands for a ref in file names: the ref itself, or its hash when it is long. */
function labelOf(ref: string): string {
  if (Buffer.byteLength(ref) <= maxNamedRef) return `r${Buffer.from(ref).toString('base64url')}`
  return `h${createHash('sha256').update(ref).digest('hex')}`
}

function notFound(ref: string): Error {
  return new NotFoundError(`reference ${ref}`)
}
