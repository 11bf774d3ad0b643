import { FailedPreconditionError, InternalError, isErrno, UnavailableError } from '@containerd-ts/interface'
import { ClassicLevel } from 'classic-level'
import { composeKey, keyBytes, keyOfBytes, splitKey } from './key.js'
import { SortedMap } from './sorted-map.js'
import { schema, schemaVersion, type Table } from './tables.js'

/** A record with its place. Replaced, never changed. */
export interface Entry<R = unknown> {
  readonly key: string
  /** The parts of the key after the table's name. */
  readonly id: readonly string[]
  readonly record: R
}

/** What committed changes tell the rest of the store. */
export interface Change {
  /** Keys that were written, the deleted ones not among them. */
  readonly written: readonly string[]
}

/** Reads see what is committed, transactions also what those before them have written. */
export interface View {
  get<R>(table: Table<R>, ...id: readonly string[]): R | undefined
  /** The records of a table below `prefix`, in byte order. */
  list<R>(table: Table<R>, ...prefix: readonly string[]): Entry<R>[]
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

interface Commit {
  readonly writes: ReadonlyMap<string, Write>
  readonly durable: boolean
  readonly effects: readonly (() => void)[]
  resolve(): void
  reject(error: Error): void
}

/** A value to come under a key, undefined to delete it. */
interface Write {
  readonly entry: Entry | undefined
  readonly bytes: Uint8Array | undefined
}

/**
 * Tables on one LevelDB, held in memory as a whole: reading touches no disk and never waits.
 *
 * A transaction is a function that runs at once and alone. What it writes is seen by later transactions immediately, by readers and
 * its caller when it is on disk. All transactions that come while a batch is being written make up the next batch, so that they share
 * one sync.
 */
export class Database implements View {
  readonly #level: ClassicLevel<Buffer, Uint8Array>
  readonly #sync: boolean
  readonly #committed = new SortedMap<Entry>()
  /** The newest write of each key that is not on disk yet. */
  readonly #pending = new Map<string, Write>()
  readonly #listeners = new Set<(change: Change) => void>()
  #queue: Commit[] = []
  #flushing: Promise<void> | undefined
  #closed = false

  private constructor(level: ClassicLevel<Buffer, Uint8Array>, options: DatabaseOptions) {
    this.#level = level
    this.#sync = options.sync
  }

  /** @throws UnavailableError when another process has it open, FailedPreconditionError when its layout is of a newer version. */
  static async open(path: string, options: DatabaseOptions, tables: readonly Table<unknown>[]): Promise<Database> {
    // Everything is read once and then kept here, so LevelDB itself needs to cache little.
    const level = new ClassicLevel<Buffer, Uint8Array>(path, { keyEncoding: 'buffer', valueEncoding: 'view', cacheSize: 1 << 20 })
    try {
      await level.open()
    } catch (cause) {
      const reason = cause instanceof Error ? cause.cause : undefined
      if (isErrno(reason, 'LEVEL_LOCKED'))
        throw new UnavailableError(`metadata database ${path} is in use by another process`, { cause })
      throw new InternalError(
        `cannot open metadata database ${path}: ${reason instanceof Error ? reason.message : String(cause)}`,
        { cause },
      )
    }
    try {
      const database = new Database(level, options)
      await database.#load(path, tables)
      return database
    } catch (error) {
      await level.close()
      throw error
    }
  }

  async #load(path: string, tables: readonly Table<unknown>[]): Promise<void> {
    const byName = new Map<string, Table<unknown>>([schema, ...tables].map((table) => [table.name, table]))
    const iterator = this.#level.iterator({ highWaterMarkBytes: 1 << 20 })
    try {
      for (;;) {
        const batch = await iterator.nextv(1000)
        if (batch.length === 0) break
        for (const [bytes, value] of batch) {
          const key = keyOfBytes(bytes)
          const [name = '', ...id] = splitKey(key)
          const table = byName.get(name)
          // Of a newer minor layout, which may add tables but not change them.
          if (table !== undefined) this.#committed.set({ key, id, record: table.decode(value) })
        }
      }
    } finally {
      await iterator.close()
    }
    const version = this.get(schema, 'version')
    if (version === undefined) await this.update((tx) => tx.put(schema, ['version'], schemaVersion))
    else if (version > schemaVersion) {
      throw new FailedPreconditionError(
        `metadata database ${path} has layout ${version}, this daemon knows up to ${schemaVersion}: it was written by a newer one`,
      )
    }
  }

  get<R>(table: Table<R>, ...id: readonly string[]): R | undefined {
    return this.#committed.get(composeKey(table.name, ...id))?.record as R | undefined
  }

  list<R>(table: Table<R>, ...prefix: readonly string[]): Entry<R>[] {
    return this.#committed.range(composeKey(table.name, ...prefix)) as Entry<R>[]
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
   * Runs `transaction` and settles when its writes are on disk. Nothing is written when it throws.
   *
   * @throws what the transaction throws, UnavailableError when the disk refuses.
   */
  update<T>(transaction: (tx: Transaction) => T, options: UpdateOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new UnavailableError('the metadata database is closed')
      const writes = new Map<string, Write>()
      const effects: (() => void)[] = []
      const result = transaction(this.#transaction(writes, effects))
      for (const [key, write] of writes) this.#pending.set(key, write)
      const written = [...writes].flatMap(([key, { entry }]) => (entry === undefined ? [] : [key]))
      for (const listener of this.#listeners) listener({ written })
      this.#queue.push({ writes, durable: options.durable ?? true, effects, resolve: () => resolve(result), reject })
      this.#flushing ??= this.#flush()
    })
  }

  #transaction(writes: Map<string, Write>, effects: (() => void)[]): Transaction {
    const layers = [this.#pending, writes]
    const write = (key: string): Write | undefined => writes.get(key) ?? this.#pending.get(key)
    return {
      get: <R>(table: Table<R>, ...id: readonly string[]) => {
        const key = composeKey(table.name, ...id)
        const changed = write(key)
        return (changed === undefined ? this.#committed.get(key) : changed.entry)?.record as R | undefined
      },
      list: <R>(table: Table<R>, ...parts: readonly string[]) => {
        const prefix = composeKey(table.name, ...parts)
        const found = this.#committed.range(prefix)
        const changed = layers.flatMap((layer) => [...layer.keys()].filter((key) => key.startsWith(prefix)))
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
        writes.set(key, { entry: { key, id, record }, bytes: table.encode(record) })
      },
      delete: (table, ...id) => {
        writes.set(composeKey(table.name, ...id), { entry: undefined, bytes: undefined })
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
      const writes = commits.flatMap((commit) => [...commit.writes])
      try {
        if (writes.length > 0) {
          await this.#level.batch(
            writes.map(([key, { bytes }]) =>
              bytes === undefined ? { type: 'del', key: keyBytes(key) } : { type: 'put', key: keyBytes(key), value: bytes },
            ),
            { sync: this.#sync && commits.some((commit) => commit.durable) },
          )
        }
      } catch (cause) {
        this.#fail(commits, cause)
        continue
      }
      for (const commit of commits) {
        for (const [key, write] of commit.writes) {
          if (write.entry === undefined) this.#committed.delete(key)
          else this.#committed.set(write.entry)
          if (this.#pending.get(key) === write) this.#pending.delete(key)
        }
        for (const effect of commit.effects) effect()
        commit.resolve()
      }
    }
    this.#flushing = undefined
  }

  /** What came after saw the writes that failed, so it fails with them. */
  #fail(commits: readonly Commit[], cause: unknown): void {
    const all = [...commits, ...this.#queue]
    this.#queue = []
    this.#pending.clear()
    const reason = cause instanceof Error ? cause.message : String(cause)
    for (const commit of all) commit.reject(new UnavailableError(`cannot write metadata: ${reason}`, { cause }))
  }

  /** Waits for what is under way and closes. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#flushing
    await this.#level.close()
  }
}
