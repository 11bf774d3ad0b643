import { type CollectionStats, type GarbageCollector, type MetadataStore, UnknownError } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import { answerQuestion } from './questions.js'

/** When garbage is collected. */
export interface SchedulerOptions {
  /** The share of time that pauses may take, 0 to 0.5; it sets the time between runs. 0 means a second. */
  pauseThreshold: number
  /** A run is scheduled at once after so many deletions; 0 leaves it to the interval. */
  deletionThreshold: number
  /** At the interval, a run needs a deletion or so many writes since the last one. */
  mutationThreshold: number
  /** Between whatever calls for a run and the run. */
  scheduleDelayMs: number
  /** Between the start of the daemon and the first run; 0 for none. */
  startupDelayMs: number
}

// What a pause is taken to be at the least, so that quick collections do not follow each other closely.
const leastPauseMs = 5
const fixedIntervalMs = 1000
const retryMs = 1000

/**
 * Collects garbage when it pays: some time after deletions, after many writes, and whenever `collect` is called.
 *
 * Runs follow one another, never overlap. After a failed run the next one is tried a second later than usual.
 */
export function createScheduler(metadata: MetadataStore, options: SchedulerOptions, log: Logger): GarbageCollector {
  const closed = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let mutations = 0
  let deletions = 0
  let runs = 0
  let totalPauseMs = 0
  let running: Promise<unknown> = Promise.resolve()
  /** The run that has not begun yet, which everybody who asks meanwhile shares. */
  let coming: Promise<CollectionStats> | undefined

  function intervalMs(): number {
    const threshold = Math.min(Math.max(options.pauseThreshold, 0), 0.5)
    if (threshold === 0) return fixedIntervalMs
    const pauseMs = runs === 0 ? leastPauseMs : Math.max(totalPauseMs / runs, leastPauseMs)
    return pauseMs / threshold - pauseMs
  }

  async function run(): Promise<CollectionStats> {
    coming = undefined
    mutations = 0
    deletions = 0
    clearTimeout(timer)
    timer = undefined
    try {
      const stats = await metadata.collectGarbage(closed.signal)
      runs++
      totalPauseMs += stats.pauseMs
      log.debug('garbage collected', { ...stats })
      return stats
    } catch (error) {
      if (!closed.signal.aborted) {
        log.error('garbage collection failed', { error })
        arm(intervalMs() + retryMs, true)
      }
      throw new UnknownError('gc failed', { cause: error })
    }
  }

  function collect(delayMs = options.scheduleDelayMs): Promise<CollectionStats> {
    coming ??= (async () => {
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs))
      await running
      const current = run()
      running = current.catch(() => {})
      return current
    })()
    return coming
  }

  /** Looks again after a while; `force` runs whatever was written meanwhile. */
  function arm(delayMs: number, force = false): void {
    if (timer !== undefined || closed.signal.aborted) return
    timer = setTimeout(() => {
      timer = undefined
      if (force || deletions > 0 || mutations >= options.mutationThreshold) collect().catch(() => {})
    }, delayMs)
    timer.unref()
  }

  const unsubscribe = metadata.onMutation(({ dirty }) => {
    mutations++
    if (dirty) deletions++
    if (options.deletionThreshold > 0 && deletions >= options.deletionThreshold) collect().catch(() => {})
    else if (deletions > 0 || mutations >= options.mutationThreshold) arm(intervalMs())
  })
  if (options.startupDelayMs > 0) arm(options.startupDelayMs, true)

  return {
    collect: () => collect(),
    pluginInfo: (ctx, question) =>
      answerQuestion(
        { explain: (object) => metadata.explain(object), preview: () => metadata.preview(ctx.signal), collect: () => collect() },
        question,
      ),
    async close() {
      unsubscribe()
      clearTimeout(timer)
      closed.abort()
      await running
    },
  }
}
