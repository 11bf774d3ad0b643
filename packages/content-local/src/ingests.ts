import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, open, readFile, rm, rmdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { compareTimestamps, type Timestamp } from '@containerd-ts/api'
import { type IngestStatus, isErrno, NotFoundError } from '@containerd-ts/interface'
import { entries } from './entries.js'
import { replaceFile } from './replace-file.js'
import { isTimestamp, timestampFromNs } from './stamp.js'

/** What is remembered of an unfinished write. */
export interface IngestState {
  ref: string
  total: number
  startedAt: Timestamp
  updatedAt: Timestamp
}

/** The directories of unfinished writes. A directory without a state is none: a crash hit while it was made or removed. */
export class Ingests {
  constructor(readonly directory: string) {}

  /** Makes the directory and removes what crashes have left. Before anything else. */
  async prepare(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 })
    for await (const name of entries(this.directory)) {
      const path = join(this.directory, name)
      if ((await readState(path)) === undefined) await rm(path, { recursive: true, force: true })
    }
  }

  dataPath(ref: string): string {
    return join(this.#path(ref), 'data')
  }

  /** The bytes of an ingest, and its state when there was one. */
  async open(ref: string): Promise<{ file: FileHandle; state?: IngestState }> {
    const path = this.#path(ref)
    let made = true
    try {
      await mkdir(path, { mode: 0o755 })
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
      made = false
    }
    const state = made ? undefined : await readState(path)
    if (state !== undefined) {
      try {
        return { file: await open(join(path, 'data'), 'r+'), state }
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error
      }
    }
    return { file: await open(join(path, 'data'), 'w+', 0o644) }
  }

  async save(state: IngestState): Promise<void> {
    await replaceFile(join(this.#path(state.ref), 'state'), JSON.stringify(state))
  }

  /** @throws NotFoundError */
  async status(ref: string): Promise<IngestStatus> {
    const status = await readStatus(this.#path(ref))
    if (status === undefined) throw new NotFoundError(`reference ${ref}`)
    return status
  }

  async list(): Promise<IngestStatus[]> {
    const statuses: IngestStatus[] = []
    for await (const name of entries(this.directory)) {
      const status = await readStatus(join(this.directory, name))
      if (status !== undefined) statuses.push(status)
    }
    return statuses
  }

  /** @throws NotFoundError */
  async remove(ref: string): Promise<void> {
    const path = this.#path(ref)
    // The state goes first, so that a crash leaves nothing that looks like an ingest.
    const found = await unlink(join(path, 'state')).then(
      () => true,
      (error: unknown) => ifMissing(error, false),
    )
    await unlink(join(path, 'data')).catch((error: unknown) => ifMissing(error, undefined))
    await rmdir(path).catch((error: unknown) => (isErrno(error, 'ENOTEMPTY') ? rm(path, { recursive: true, force: true }) : ifMissing(error, undefined)))
    if (!found) throw new NotFoundError(`reference ${ref}`)
  }

  // A ref may hold anything, its hash makes a file name.
  #path(ref: string): string {
    return join(this.directory, createHash('sha256').update(ref).digest('hex'))
  }
}

async function readStatus(path: string): Promise<IngestStatus | undefined> {
  try {
    const [{ size, mtimeNs }, state] = await Promise.all([stat(join(path, 'data'), { bigint: true }), readState(path)])
    if (state === undefined) return undefined
    // The state is saved when a writer closes; after a crash the file knows better when it was last written to.
    const written = timestampFromNs(mtimeNs)
    const updatedAt = compareTimestamps(written, state.updatedAt) > 0 ? written : state.updatedAt
    return { ref: state.ref, offset: Number(size), total: state.total, expected: '', startedAt: state.startedAt, updatedAt }
  } catch (error) {
    return ifMissing(error, undefined)
  }
}

async function readState(path: string): Promise<IngestState | undefined> {
  try {
    const state: unknown = JSON.parse(await readFile(join(path, 'state'), 'utf8'))
    return isState(state) ? state : undefined
  } catch (error) {
    if (error instanceof SyntaxError || isErrno(error, 'ENOTDIR')) return undefined
    return ifMissing(error, undefined)
  }
}

function isState(value: unknown): value is IngestState {
  return (
    typeof value === 'object' &&
    value !== null &&
    'ref' in value &&
    typeof value.ref === 'string' &&
    'total' in value &&
    typeof value.total === 'number' &&
    'startedAt' in value &&
    isTimestamp(value.startedAt) &&
    'updatedAt' in value &&
    isTimestamp(value.updatedAt)
  )
}

function ifMissing<T>(error: unknown, value: T): T {
  if (isErrno(error, 'ENOENT')) return value
  throw error
}
