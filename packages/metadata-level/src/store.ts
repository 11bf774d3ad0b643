import {
  background,
  type CollectionStats,
  type ContentStore,
  type EventPublisher,
  type MetadataMutation,
  type MetadataStore,
  type Snapshotter,
} from '@containerd-ts/interface'
import { type Logger, silentLogger } from '@containerd-ts/plugin'
import type { ContentSharingPolicy } from './config.js'
import { createContainerStore } from './containers.js'
import { createContentView } from './content.js'
import { Database, type Transaction, type UpdateOptions } from './database.js'
import { publisher, type StoreDeps } from './deps.js'
import { Dirty } from './dirty.js'
import { eventTypes } from './event-types.js'
import { Cleanups } from './gc/cleanups.js'
import { collectMetadata, previewCollection, type Removal } from './gc/collect.js'
import { explain } from './gc/explain.js'
import { withSizes } from './gc/sizes.js'
import { sweepContent, sweepSnapshots } from './gc/sweep.js'
import { createImageStore } from './images.js'
import { createLeaseManager } from './leases.js'
import { Limbo } from './limbo.js'
import { createNamespaceStore } from './namespaces.js'
import { Turns } from './pace.js'
import { finishRepair } from './repair.js'
import { Sequence } from './sequence.js'
import { SharedLock } from './shared-lock.js'
import { createSnapshotView, resumeCommits } from './snapshots.js'
import { images, snapshots, tables } from './tables.js'

/** What a metadata database is made over. */
export interface MetadataStoreOptions {
  /** Directory of the database; created when missing. */
  path: string
  content: ContentStore
  /** By their names. */
  snapshotters: ReadonlyMap<string, Snapshotter>
  events: EventPublisher
  /** Default `shared`. */
  contentSharingPolicy?: ContentSharingPolicy
  /** False leaves it to the kernel when changes reach the disk. Default true. */
  sync?: boolean
  log?: Logger
  /** How long a collection waits for one answer of a backend. Default 10 s. */
  backendTimeoutMs?: number
  /** The time by which leases, images and ingests expire. For tests. */
  nowMs?: () => number
}

const defaultBackendTimeoutMs = 10_000

/**
 * Opens the metadata over a content store and snapshotters, which are nobody else's: what is not named here is removed from them.
 *
 * @throws UnavailableError when another process has the database, FailedPreconditionError when a newer version wrote it.
 */
export async function createMetadataStore(options: MetadataStoreOptions): Promise<MetadataStore> {
  const { content: backend, log = silentLogger, nowMs = Date.now } = options
  await finishRepair(options.path)
  const database = await Database.open(options.path, { sync: options.sync ?? true }, tables)
  const dirty = new Dirty(options.snapshotters.keys())
  const listeners = new Set<(mutation: MetadataMutation) => void>()
  const publish = publisher(options.events)

  const deps: StoreDeps = {
    view: database,
    dirty,
    log,
    publish,
    async update<T>(transaction: (tx: Transaction) => T, updateOptions?: UpdateOptions): Promise<T> {
      const result = await database.update(transaction, updateOptions)
      for (const listener of listeners) listener({ dirty: dirty.deleted })
      return result
    },
  }

  const contentLock = new SharedLock()
  const snapshotLocks = new Map([...options.snapshotters.keys()].map((name) => [name, new SharedLock()]))
  const lockOf = (name: string): SharedLock => {
    const lock = snapshotLocks.get(name)
    if (lock === undefined) throw new TypeError(`no snapshotter ${name}`)
    return lock
  }
  const sequence = new Sequence(deps)
  const deadlineMs = options.backendTimeoutMs ?? defaultBackendTimeoutMs
  const snapshotDeps = [...options.snapshotters].map(([name, backend]) => ({
    ...deps,
    name,
    backend,
    lock: lockOf(name),
    sequence,
  }))
  await Promise.all(snapshotDeps.map((each) => resumeCommits(each, deadlineMs)))
  const limbo = new Limbo()
  const cleanups = new Cleanups(log)
  let collecting: Promise<unknown> = Promise.resolve()

  /** Backends whose sweep fails are looked at as a whole the next time. */
  async function sweep(): Promise<void> {
    const { blobs, ingests, snapshots } = dirty
    const sweepDeps = { view: database, dirty, log, deadlineMs }
    const sweeps: Promise<void>[] = []
    if (!blobs.isEmpty || !ingests.isEmpty) {
      sweeps.push(
        sweepContent({ ...sweepDeps, lock: contentLock }, backend, limbo).catch((error: unknown) => {
          log.warn('cannot sweep the content store', { error })
          blobs.addAll()
          ingests.addAll()
        }),
      )
    }
    for (const [name, suspects] of snapshots) {
      const snapshotter = options.snapshotters.get(name)
      if (snapshotter === undefined || suspects.isEmpty) continue
      const work = async () => {
        await sweepSnapshots({ ...sweepDeps, lock: lockOf(name) }, name, snapshotter)
        await cleanups.run(name, snapshotter, deadlineMs)
      }
      sweeps.push(
        work().catch((error: unknown) => {
          log.warn('cannot sweep a snapshotter', { snapshotter: name, error })
          suspects.addAll()
        }),
      )
    }
    await Promise.all(sweeps)
  }

  async function announce({ namespace, table, id }: Removal): Promise<void> {
    const ctx = background(namespace, { log })
    if (table === snapshots.name) {
      const [snapshotter = '', key = ''] = id
      await publish(ctx, namespace, '/snapshot/remove', eventTypes.snapshotRemove, { key, snapshotter })
    } else if (table === images.name)
      await publish(ctx, namespace, '/images/delete', eventTypes.imageDelete, { name: id[0] ?? '' })
  }

  async function collect(signal: AbortSignal): Promise<CollectionStats> {
    const started = performance.now()
    const { removed, stats } = await collectMetadata(database, dirty, nowMs(), signal)
    await sweep()
    const turns = new Turns()
    for (const removal of removed) {
      if (turns.isOver) await turns.pass()
      await announce(removal)
    }
    return { ...stats, totalMs: performance.now() - started }
  }

  return {
    content: createContentView({ ...deps, backend, lock: contentLock, limbo }, options.contentSharingPolicy ?? 'shared'),
    snapshotters: new Map(snapshotDeps.map((each) => [each.name, createSnapshotView(each)])),
    images: createImageStore(deps),
    containers: createContainerStore(deps),
    namespaces: createNamespaceStore(deps),
    leases: createLeaseManager(deps),
    collectGarbage(signal) {
      const result = collecting.then(() => collect(signal))
      collecting = result.catch(() => {})
      return result
    },
    explain: (object) => explain(database, object, nowMs()),
    async preview(signal) {
      const removals = await previewCollection(database, nowMs(), signal)
      return withSizes(removals, { view: database, snapshotters: options.snapshotters, log, signal })
    },
    onMutation(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async close() {
      await collecting
      await database.close()
    },
  }
}
