import { isErrno, UnavailableError } from '@containerd-ts/interface'
import {
  CommitMark,
  checksum,
  type DatabaseState,
  type Level,
  loadRecords,
  openLevel,
  type RecordWrite,
  seal,
  writeRecords,
} from '@containerd-ts/level-records'
import { metadataDatabase } from './database-kind.js'
import { composeKey, keyBytes, keyOfBytes, splitKey } from './key.js'
import { isVersionKey, migrate } from './migrations.js'
import { Reserve } from './reserve.js'
import { SortedMap } from './sorted-map.js'
import { schema, type Table } from './tables.js'

/** A record with its place. Replaced, never changed. */
export interface Entry<R = unknown> {
  readonly key: string
  /** The parts of the key after the table's name. */
  readonly id: readonly string[]
  readonly record: R
  /** The checksum under which it is stored. */
  readonly check: number
}

/** What a transaction tells the rest of the store: keys. */
export interface Change {
  readonly written: readonly string[]
  readonly deleted: readonly string[]
}

/** Reads see what is committed, transactions also what those before them have written. */
export interface View {
  get<R>(table: Table<R>, ...id: readonly string[]): R | undefined
  /** The records of a table below `prefix`, in byte order. */
  list<R>(table: Table<R>, ...prefix: readonly string[]): Entry<R>[]
}

/** What is committed, also for those who take their time. */
export interface CommittedView extends View {
  /** As `list`, without gathering all of them: what is committed now, however long the walk through it takes. */
  scan<R>(table: Table<R>, ...prefix: readonly string[]): Iterable<Entry<R>>
}

export interface Transaction extends View {
  put<R>(table: Table<R>, id: readonly string[], record: R): void
  delete<R>(table: Table<R>, ...id: readonly string[]): void
  /** Runs when this transaction is durable, before its caller hears of it. */
  afterwards(effect: () => void): void
}

export interface DatabaseOptions {
  /** False leaves it to the kernel when committed changes reach the disk. */
  sync: boolean
}

export interface UpdateOptions {
  /** False for changes whose loss in a power failure, though not in a crash of the daemon, does no harm. */
  durable?: boolean
}

/** Writes by their keys, that tells those of a table without a look at all of them. */
class WriteSet extends Map<string, Write> {
  readonly #tables = new Map<string, Set<string>>()

  override set(key: string, write: Write): this {
    const table = tableOf(key)
    const keys = this.#tables.get(table)
    if (keys === undefined) this.#tables.set(table, new Set([key]))
    else keys.add(key)
    return super.set(key, write)
  }

  override delete(key: string): boolean {
    this.#tables.get(tableOf(key))?.delete(key)
    return super.delete(key)
  }

  override clear(): void {
    this.#tables.clear()
    super.clear()
  }

  keysOf(table: string): string[] {
    return [...(this.#tables.get(table) ?? [])]
  }
}

function tableOf(key: string): string {
  return key.slice(0, key.indexOf('\0'))
}

interface Commit {
  readonly writes: ReadonlyMap<string, Write>
  readonly durable: boolean
  /** Needs a synced batch even if it writes nothing itself. */
  readonly settles: boolean
  readonly effects: readonly (() => void)[]
  resolve(): void
  reject(error: Error): void
}

/** What is to be under a key. */
interface Write {
  /** Undefined to delete what is there. */
  readonly entry: Entry | undefined
  readonly bytes: Buffer
  /** The sealed value. */
  readonly value: Uint8Array | undefined
}

/** All records of a database in memory. */
interface Loaded {
  readonly level: Level
  readonly entries: SortedMap<Entry>
  readonly state: DatabaseState
}

/**
 * Tables on one LevelDB, held in memory as a whole: reading touches no disk and never waits.
 *
 * A transaction is a function that runs at once and alone. What it writes is seen by later transactions immediately, by readers and
 * its caller when it is on disk. All transactions that come while a batch is being written make up the next batch, so that they share
 * one sync.
 *
 * Every value has a checksum, and every batch says how many records there are and what their checksums add up to, so that a database
 * that lost something is recognised when it is opened.
 */
export class Database implements CommittedView {
  readonly #path: string
  readonly #sync: boolean
  readonly #tables: readonly Table<unknown>[]
  #loaded: Loaded
  readonly #mark: CommitMark
  readonly #reserve: Reserve
  /** The newest write of each key that is not on disk yet. */
  readonly #pending = new WriteSet()
  readonly #listeners = new Set<(change: Change) => void>()
  #queue: Commit[] = []
  #flushing: Promise<void> | undefined
  /** After a failed write it is unknown what reached the disk. */
  #doubtful = false
  #closed = false

  private constructor(
    path: string,
    options: DatabaseOptions,
    tables: readonly Table<unknown>[],
    loaded: Loaded,
    mark: CommitMark,
  ) {
    this.#path = path
    this.#sync = options.sync
    this.#tables = tables
    this.#loaded = loaded
    this.#mark = mark
    this.#reserve = new Reserve(path)
  }

  /**
   * @throws UnavailableError when another process has it open or the disk refuses, FailedPreconditionError when its layout is of a newer
   * version, DataLossError when something is missing or altered; the files stay as they are.
   */
  static async open(path: string, options: DatabaseOptions, tables: readonly Table<unknown>[]): Promise<Database> {
    const loaded = await loadDatabase(path, tables)
    try {
      const mark = CommitMark.open(path)
      mark.write(options.sync ? loaded.state.commits : 0)
      const database = new Database(path, options, tables, loaded, mark)
      // Without it this is a database on a full disk.
      if (!database.#reserve.isHeld) await database.#reserve.take().catch(() => {})
      return database
    } catch (error) {
      await loaded.level.close()
      throw error
    }
  }

  get<R>(table: Table<R>, ...id: readonly string[]): R | undefined {
    return this.#loaded.entries.get(composeKey(table.name, ...id))?.record as R | undefined
  }

  list<R>(table: Table<R>, ...prefix: readonly string[]): Entry<R>[] {
    return this.#loaded.entries.range(composeKey(table.name, ...prefix)) as Entry<R>[]
  }

  scan<R>(table: Table<R>, ...prefix: readonly string[]): Iterable<Entry<R>> {
    return this.#loaded.entries.snapshot(composeKey(table.name, ...prefix)) as Iterable<Entry<R>>
  }

  /** Keys whose writes are not on disk yet. */
  pendingKeys(): Iterable<string> {
    return this.#pending.keys()
  }

  /** Hears of every transaction as soon as it has run, before it is on disk. The result ends it. */
  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Runs `transaction` and settles when its writes are on disk. Nothing is written when it throws. On a full disk only what deletes
   * is written.
   *
   * @throws what the transaction throws, UnavailableError when the disk refuses.
   */
  update<T>(transaction: (tx: Transaction) => T, options: UpdateOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new UnavailableError('the metadata database is closed')
      const writes = new WriteSet()
      const effects: (() => void)[] = []
      const result = transaction(this.#transaction(writes, effects))
      if (!this.#reserve.isHeld && [...writes.values()].some(({ value }) => value !== undefined)) {
        resolve(this.#reserve.take().then(() => this.update(transaction, options), cannotWrite))
        return
      }
      for (const [key, write] of writes) this.#pending.set(key, write)
      this.#tell(writes)
      const { durable = true } = options
      this.#enqueue({ writes, durable, settles: false, effects, resolve: () => resolve(result), reject })
    })
  }

  #enqueue(commit: Commit): void {
    this.#queue.push(commit)
    this.#flushing ??= this.#flush()
  }

  #tell(writes: ReadonlyMap<string, Write>): void {
    if (this.#listeners.size === 0) return
    const written: string[] = []
    const deleted: string[] = []
    for (const [key, { entry }] of writes) (entry === undefined ? deleted : written).push(key)
    for (const listener of this.#listeners) listener({ written, deleted })
  }

  #transaction(writes: WriteSet, effects: (() => void)[]): Transaction {
    const layers = [this.#pending, writes]
    const write = (key: string): Write | undefined => writes.get(key) ?? this.#pending.get(key)
    return {
      get: <R>(table: Table<R>, ...id: readonly string[]) => {
        const key = composeKey(table.name, ...id)
        const changed = write(key)
        return (changed === undefined ? this.#loaded.entries.get(key) : changed.entry)?.record as R | undefined
      },
      list: <R>(table: Table<R>, ...parts: readonly string[]) => {
        const prefix = composeKey(table.name, ...parts)
        const found = this.#loaded.entries.range(prefix)
        const changed = layers.flatMap((layer) => layer.keysOf(table.name).filter((key) => key.startsWith(prefix)))
        if (changed.length === 0) return found as Entry<R>[]
        const merged = new Map(found.map((entry) => [entry.key, entry]))
        for (const key of changed) {
          const entry = write(key)?.entry
          if (entry === undefined) merged.delete(key)
          else merged.set(key, entry)
        }
        return [...merged.values()].sort((a, b) => (a.key < b.key ? -1 : 1)) as Entry<R>[]
      },
      put: (table, id, record) => {
        const key = composeKey(table.name, ...id)
        const bytes = keyBytes(key)
        const payload = table.encode(record)
        const check = checksum(bytes, payload)
        writes.set(key, { entry: { key, id, record, check }, bytes, value: seal(payload, check) })
      },
      delete: (table, ...id) => {
        const key = composeKey(table.name, ...id)
        writes.set(key, { entry: undefined, bytes: keyBytes(key), value: undefined })
      },
      afterwards: (effect) => {
        effects.push(effect)
      },
    }
  }

  async #flush(): Promise<void> {
    // Requests that arrived together are handled in the same turn of the event loop: let them join.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#queue.length > 0) {
      const commits = this.#queue
      this.#queue = []
      try {
        if (this.#doubtful) await this.#reload()
        await this.#write(commits)
      } catch (cause) {
        this.#doubtful = true
        if (isDiskFull(cause)) await this.#reserve.release()
        this.#fail(commits, cause)
        continue
      }
      for (const commit of commits) {
        for (const [key, write] of commit.writes) if (this.#pending.get(key) === write) this.#pending.delete(key)
        for (const effect of commit.effects) effect()
        commit.resolve()
      }
    }
    this.#flushing = undefined
  }

  /** Writes a batch of what several transactions have written, then shows it to readers. */
  async #write(commits: readonly Commit[]): Promise<void> {
    const writes = new Map(commits.flatMap((commit) => [...commit.writes]))
    if (writes.size === 0 && !commits.some(({ settles }) => settles)) return
    const { level, entries } = this.#loaded
    const sync = this.#sync && commits.some((commit) => commit.durable)
    const state = await writeRecords(level, this.#loaded.state, recordWrites(writes, entries), { sync })
    if (sync) this.#mark.write(state.commits)
    for (const [key, { entry }] of writes) {
      if (entry === undefined) entries.delete(key)
      else entries.set(entry)
    }
    this.#loaded = { level, entries, state }
  }

  /** What came after saw the writes that failed, so it fails with them. */
  #fail(commits: readonly Commit[], cause: unknown): void {
    const all = [...commits, ...this.#queue]
    this.#queue = []
    this.#pending.clear()
    for (const commit of all) commit.reject(writeError(cause))
  }

  /**
   * Reads everything again. LevelDB would go on writing behind a record that is there in part, and not find what is there when it is
   * opened the next time; opening it now makes it begin a new log.
   */
  async #reload(): Promise<void> {
    await this.#loaded.level.close()
    this.#loaded = await loadDatabase(this.#path, this.#tables)
    this.#doubtful = false
  }

  /** Settles when everything that was written before, durable or not, is on disk to stay. */
  settle(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#enqueue({ writes: new Map(), durable: true, settles: true, effects: [], resolve, reject })
    })
  }

  /** Waits for what is under way and closes. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#flushing
    await this.#loaded.level.close()
    this.#mark.close()
  }
}

function writeError(cause: unknown): Error {
  return new UnavailableError(`cannot write metadata: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
}

function cannotWrite(cause: unknown): never {
  throw writeError(cause)
}

/** True for what LevelDB or the system says of a full disk. */
function isDiskFull(error: unknown): boolean {
  return (
    isErrno(error, 'ENOSPC') ||
    (error instanceof Error && (/no space left on device/i.test(error.message) || isDiskFull(error.cause)))
  )
}

function* recordWrites(writes: ReadonlyMap<string, Write>, entries: SortedMap<Entry>): Iterable<RecordWrite> {
  for (const [key, { entry, bytes, value }] of writes)
    yield { key: bytes, value, before: entries.get(key)?.check, after: entry?.check }
}

/** Opens a database, brings it to the present layout and reads it. */
async function loadDatabase(path: string, tables: readonly Table<unknown>[]): Promise<Loaded> {
  const level = await openLevel(path, metadataDatabase)
  try {
    await migrate(level, path)
    const byName = new Map<string, Table<unknown>>([schema, ...tables].map((table) => [table.name, table]))
    const entries = new SortedMap<Entry>()
    const state = await loadRecords(level, path, metadataDatabase, {
      isForeign: isVersionKey,
      onRecord(bytes, payload, check) {
        const key = keyOfBytes(bytes)
        const [name = '', ...id] = splitKey(key)
        // A table that is not known belongs to a plugin that is not here, or to a newer daemon.
        const table = byName.get(name)
        if (table !== undefined) entries.set({ key, id, record: table.decode(payload), check })
      },
    })
    return { level, entries, state }
  } catch (error) {
    await level.close()
    throw error
  }
}
