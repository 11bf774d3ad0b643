import {
  type CollectionStats,
  type GarbageCollector,
  type MetadataStore,
  UnavailableError,
  UnknownError,
} from '@containerd-ts/interface'
import { type Logger, silentLogger } from '@containerd-ts/plugin'

export interface SchedulerOptions {
  metadata: Pick<MetadataStore, 'collectGarbage' | 'onMutation'>
  /** Share of the time that collections may take, 0 to 0.5. 0 collects once a second. Default 0.02. */
  pauseThreshold?: number
  /** Deletions after which a collection is scheduled at once, 0 for never. Default 0. */
  deletionThreshold?: number
  /** Changes after which a collection runs at its turn though nothing was deleted. Default 100. */
  mutationThreshold?: number
  /** Time between what causes a collection and the collection. Default 0. */
  scheduleDelayMs?: number
  /** Time until the first collection, which runs in any case; 0 for none. Default 100. */
  startupDelayMs?: number
  log?: Logger
}

interface Caller {
  resolve(stats: CollectionStats): void
  reject(error: Error): void
}

const maxPauseThreshold = 0.5
// Shorter pauses do not make collections more frequent.
const minPauseMs = 5
const fixedIntervalMs = 1000
const retryMs = 1000

/**
 * Decides when garbage is collected: at intervals that keep the share of time spent small, if something changed, and at once when
 * somebody asks.
 *
 * A collection that somebody asked for begins after the call: one that runs already is followed by another. Callers who wait
 * together share one.
 */
export function createScheduler(options: SchedulerOptions): GarbageCollector {
  const {
    metadata,
    deletionThreshold = 0,
    mutationThreshold = 100,
    scheduleDelayMs = 0,
    startupDelayMs = 100,
    log = silentLogger,
  } = options
  const pauseThreshold = Math.min(Math.max(options.pauseThreshold ?? 0.02, 0), maxPauseThreshold)
  const stopped = new AbortController()

  let callers: Caller[] = []
  let mutations = 0
  let deletions = 0
  let collections = 0
  let totalPauseMs = 0
  let intervalMs = fixedIntervalMs
  let timer: NodeJS.Timeout | undefined
  let dueAt = Number.POSITIVE_INFINITY
  let running: Promise<void> | undefined
  let first = true

  /** Sees to it that the next turn is not later than in `delayMs`. */
  const schedule = (delayMs: number): void => {
    const at = performance.now() + delayMs
    if (running !== undefined || stopped.signal.aborted || at >= dueAt) return
    clearTimeout(timer)
    dueAt = at
    timer = setTimeout(turn, delayMs)
    // Waiting for garbage keeps no process alive.
    timer.unref()
  }

  const turn = (): void => {
    dueAt = Number.POSITIVE_INFINITY
    if (!first && callers.length === 0 && deletions === 0 && mutations < mutationThreshold) schedule(intervalMs)
    else running = run()
  }

  const run = async (): Promise<void> => {
    const waiting = callers
    callers = []
    mutations = 0
    deletions = 0
    let failed = false
    try {
      const stats = await metadata.collectGarbage(stopped.signal)
      collections++
      totalPauseMs += stats.pauseMs
      for (const caller of waiting) caller.resolve(stats)
      log.debug('garbage collected', { ...stats })
    } catch (cause) {
      failed = true
      if (!stopped.signal.aborted) log.error('garbage collection failed', { error: cause })
      for (const caller of waiting) caller.reject(new UnknownError('gc failed', { cause }))
    }
    running = undefined
    // The first collection that fails is tried again soon, later ones less and less often.
    if (failed) intervalMs = first ? Math.max(scheduleDelayMs, 1) : intervalMs + retryMs
    else {
      first = false
      intervalMs = nextInterval(totalPauseMs / collections, pauseThreshold)
    }
    const urgent = callers.length > 0 || (deletionThreshold > 0 && deletions >= deletionThreshold)
    schedule(urgent ? scheduleDelayMs : intervalMs)
  }

  const unsubscribe = metadata.onMutation(({ dirty }) => {
    mutations++
    if (dirty) deletions++
    if (deletionThreshold > 0 && deletions >= deletionThreshold) schedule(scheduleDelayMs)
  })
  if (startupDelayMs > 0) schedule(startupDelayMs)

  return {
    collect: () =>
      new Promise((resolve, reject) => {
        if (stopped.signal.aborted) throw new UnavailableError('the garbage collector is stopped')
        callers.push({ resolve, reject })
        schedule(scheduleDelayMs)
      }),
    async close() {
      unsubscribe()
      clearTimeout(timer)
      stopped.abort()
      await running
      for (const caller of callers) caller.reject(new UnavailableError('the garbage collector is stopped'))
      callers = []
    },
  }
}

/** The pause until the next turn, so that the average collection takes the given share of the time. */
function nextInterval(averagePauseMs: number, threshold: number): number {
  if (threshold === 0) return fixedIntervalMs
  const pauseMs = Math.max(averagePauseMs, minPauseMs)
  return pauseMs / threshold - pauseMs
}
