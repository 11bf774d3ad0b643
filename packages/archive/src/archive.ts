import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Mount } from '@containerd-ts/mount'
import { createRingPool, createRingWriter } from './byte-ring.js'
import { abortFlow, chunkTaken, createChunkFlow } from './chunk-flow.js'
import { decompress, peekEncoding } from './decompress.js'
import type { Applied, ApplyTarget, Compared, DigestJob, Job, MeasureJob, Report } from './jobs.js'
import { makeDirectories, type NewDirectory } from './new-directories.js'
import { createThreads } from './threads.js'
import { measureSmallTree, type TreeUsage } from './tree-usage.js'
import { startWriteback } from './writeback.js'

// Starting a thread takes as long as to hash so many bytes.
const worthAThread = 4 << 20
// Files and directories that are measured in less time than it takes to start a thread.
const smallTree = 1000

export interface ArchiveOptions {
  /** How many layers are worked on at once; more wait. Default: one per processor, two at least. */
  threads?: number
  /** How long a thread without work is kept. Default 10 s. */
  idleMs?: number
}

export interface ApplyLayerOptions {
  /** `detect` decompresses gzip and zstd, told by the first bytes; `none` takes the stream as it is. Default `detect`. */
  compression?: 'detect' | 'none'
  /** Bytes of the stream as far as they are known: for a small layer fewer threads are started. */
  sizeBytes?: number
  /** Have all on disk when the promise settles: what a power cut comes upon later is whole. Default true. */
  sync?: boolean
  signal?: AbortSignal
}

export interface CompareOptions {
  /** Where mount points are made; the mounts themselves nobody else sees. */
  tempRoot: string
  /** Seconds since 1970 that no modification time exceeds. */
  latestSeconds?: number
  signal?: AbortSignal
}

/** A layer in the making. */
export interface Comparison {
  /** The layer, uncompressed. To be consumed once; the work goes on only as it is. */
  readonly bytes: AsyncIterable<Uint8Array<ArrayBuffer>>
  /** Settles after `bytes` has ended. */
  readonly result: Promise<Compared>
}

/** Works on whole trees, on threads of its own: unpacks layers and makes them, measures, copies and removes. */
export interface Archive {
  /**
   * Unpacks a layer. Nothing outside of the target is touched whatever the layer says. When it fails or is aborted, a target that was
   * empty is empty again; to another one happened what has happened by then. Nothing is mounted any more when the promise settles.
   *
   * @throws TarError, SystemError and MountError by `name` and `code`.
   */
  apply(layer: AsyncIterable<Uint8Array>, target: ApplyTarget, options?: ApplyLayerOptions): Promise<Applied>
  /** Makes the layer that turns the tree of `lower` into the tree of `upper`; no `lower` at all stands for an empty tree. */
  compare(lower: readonly Mount[], upper: readonly Mount[], options: CompareOptions): Comparison
  /** What a directory takes on disk with all that is in it. @throws SystemError */
  measure(path: string, signal?: AbortSignal): Promise<TreeUsage>
  /** As `measure`, but only of what is not as in the tree `base`. @throws SystemError */
  measureChanges(base: string, path: string, signal?: AbortSignal): Promise<TreeUsage>
  /**
   * Copies what is in the directory `source` to the existing directory `target`, and its attributes. When it fails or is aborted, what
   * has been copied by then stays.
   * @throws SystemError
   */
  copy(source: string, target: string, signal?: AbortSignal): Promise<void>
  /** Makes a directory, then others, which may be in it; after a failure some are there. @throws SystemError EEXIST */
  makeDirectories(directories: readonly NewDirectory[], signal?: AbortSignal): Promise<void>
  /** Removes a file or a directory with all that is in it. That it is not there is no error. @throws SystemError */
  remove(path: string, signal?: AbortSignal): Promise<void>
  /** Tells that there will soon be something to do: the thread for it, which takes longer to start than a small layer to unpack, is started now. */
  warm(): void
  /** Ends the threads. */
  close(): Promise<void>
}

/** No thread is started before it is needed. */
export function openArchive(options: ArchiveOptions = {}): Archive {
  const max = options.threads ?? Math.max(2, availableParallelism())
  const idleMs = options.idleMs ?? 10_000
  const threads = createThreads<Job>({ start: () => new Worker(new URL('./archive-worker.js', import.meta.url)), max, idleMs })
  // As many as of the others: whoever unpacks need not wait for one.
  const digests = createThreads<DigestJob>({
    start: () => new Worker(new URL('./digest-worker.js', import.meta.url)),
    max,
    idleMs,
  })

  const rings = createRingPool(max)

  async function apply(
    layer: AsyncIterable<Uint8Array>,
    target: ApplyTarget,
    { compression = 'detect', sizeBytes = Number.POSITIVE_INFINITY, sync = true, signal }: ApplyLayerOptions = {},
  ): Promise<Applied> {
    signal?.throwIfAborted()
    if (target.kind === 'mounts') await mkdir(target.tempRoot, { recursive: true, mode: 0o700 })
    const peeked = compression === 'none' ? { encoding: 'raw' as const, bytes: layer } : await peekEncoding(layer)
    const decompressed = decompress(peeked.encoding, peeked.bytes)
    // Without a decoder elsewhere the thread decompresses too, as it must not be done on the event loop.
    const onThread = decompressed === undefined
    const apart = !onThread && sizeBytes >= worthAThread && availableParallelism() > 1
    const ring = rings.take(apart ? 2 : 1)
    const writer = createRingWriter(ring)
    const abort = () => writer.abort()
    signal?.addEventListener('abort', abort, { once: true })
    // It may have come while the beginning was read.
    if (signal?.aborted) abort()

    const writeback = sync ? startWriteback(target) : undefined
    let feedError: unknown
    const feed = async () => {
      try {
        for await (const chunk of decompressed ?? peeked.bytes) {
          await writer.write(chunk)
          writeback?.written(chunk.length)
        }
        writer.end()
      } catch (error) {
        feedError = error
        writer.abort()
      }
    }
    const digestOf = async () => {
      try {
        const report = await digests.run({ kind: 'digest', ring }, signal, () => writer.drained())
        if (report.type !== 'digested') throw new TypeError(`unexpected report ${report.type}`)
        return report.result
      } catch (error) {
        // Nobody would make room in the ring any more.
        writer.abort()
        throw error
      }
    }
    const unpack = async () => {
      try {
        const job = { kind: 'apply', target, ring, encoding: onThread ? 'zstd' : 'raw', digest: !apart, sync } as const
        const report = await threads.run(job, signal, () => writer.drained())
        if (report.type !== 'applied') throw new TypeError(`unexpected report ${report.type}`)
        return report.result
      } catch (error) {
        writer.abort()
        throw error
      }
    }
    const feeding = feed()
    const digesting = apart ? digestOf() : undefined
    const unpacking = unpack()
    try {
      const outcomes = await Promise.allSettled([unpacking, digesting])
      const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
      if (failures.length > 0) {
        signal?.throwIfAborted()
        // A thread that was aborted only tells that something else has failed.
        throw failures.find((error) => !isAbort(error)) ?? feedError ?? failures[0]
      }
      const { contentBytes, warnings, stream } = await unpacking
      const found = stream ?? (await digesting)
      if (found === undefined) throw new TypeError('nobody has found the digest')
      return { ...found, contentBytes, warnings }
    } finally {
      signal?.removeEventListener('abort', abort)
      writer.close(new Error('the layer is not read any further'))
      await Promise.all([feeding, writeback?.end()])
      rings.giveBack(ring)
    }
  }

  function compare(
    lower: readonly Mount[],
    upper: readonly Mount[],
    { tempRoot, latestSeconds, signal }: CompareOptions,
  ): Comparison {
    const flow = createChunkFlow()
    const chunks = createQueue<Uint8Array<ArrayBuffer>>()
    const abort = () => abortFlow(flow)
    const onReport = (report: Report) => {
      if (report.type === 'chunk') chunks.push(report.bytes)
    }
    const run = async (): Promise<Compared> => {
      await mkdir(tempRoot, { recursive: true, mode: 0o700 })
      signal?.throwIfAborted()
      signal?.addEventListener('abort', abort, { once: true })
      try {
        const job = {
          kind: 'compare',
          lower,
          upper,
          tempRoot,
          flow,
          ...(latestSeconds !== undefined && { latestSeconds }),
        } as const
        const report = await threads.run(job, signal, onReport)
        if (report.type !== 'compared') throw new TypeError(`unexpected report ${report.type}`)
        return report.result
      } catch (error) {
        signal?.throwIfAborted()
        throw error
      } finally {
        signal?.removeEventListener('abort', abort)
      }
    }
    const result = run()
    result.then(
      () => chunks.end(),
      (error) => chunks.end(error),
    )
    async function* bytes(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
      let complete = false
      try {
        for await (const chunk of chunks) {
          yield chunk
          chunkTaken(flow)
        }
        complete = true
      } finally {
        // Whoever stops early waits until nothing is mounted any more.
        if (!complete) {
          abort()
          await result.catch(() => {})
        }
      }
    }
    return { bytes: bytes(), result }
  }

  /** Runs a job that looks at `stop` every now and then. */
  async function stoppable(
    signal: AbortSignal | undefined,
    jobOf: (stop: Int32Array<SharedArrayBuffer>) => Job,
  ): Promise<Report> {
    signal?.throwIfAborted()
    const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
    const abort = () => Atomics.store(stop, 0, 1)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await threads.run(jobOf(stop), signal, () => {})
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  async function measure(what: Pick<MeasureJob, 'path' | 'base'>, signal: AbortSignal | undefined): Promise<TreeUsage> {
    const report = await stoppable(signal, (stop) => ({ kind: 'measure', ...what, stop }))
    if (report.type !== 'measured') throw new TypeError(`unexpected report ${report.type}`)
    return report.result
  }

  return {
    apply,
    compare,
    async measure(path, signal) {
      signal?.throwIfAborted()
      return (await measureSmallTree(path, smallTree, signal)) ?? measure({ path }, signal)
    },
    measureChanges: (base, path, signal) => measure({ path, base }, signal),
    async copy(source, target, signal) {
      await stoppable(signal, (stop) => ({ kind: 'copy', source, target, stop }))
    },
    makeDirectories,
    async remove(path, signal) {
      await stoppable(signal, (stop) => ({ kind: 'remove', path, stop }))
    },
    warm: () => threads.warm(),
    close: async () => void (await Promise.all([threads.close(), digests.close()])),
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}

interface Queue<T> extends AsyncIterable<T> {
  push(item: T): void
  /** Nothing more comes; with an error the iteration fails after what is queued. */
  end(error?: unknown): void
}

function createQueue<T>(): Queue<T> {
  const items: T[] = []
  let ended: { error: unknown } | undefined
  let wake = () => {}
  return {
    push(item) {
      items.push(item)
      wake()
    },
    end(error) {
      ended = { error }
      wake()
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const item = items.shift()
        if (item !== undefined) yield item
        else if (ended === undefined) await new Promise<void>((resolve) => (wake = resolve))
        else if (ended.error !== undefined) throw ended.error
        else return
      }
    },
  }
}
