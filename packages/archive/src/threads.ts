import type { Worker } from 'node:worker_threads'
import { fromSentError, type Report } from './jobs.js'

/** Threads that do jobs, started as they are needed and kept for a while. */
export interface Threads<Job> {
  /** Runs a job on a free thread; waits for one when all are busy. The promise settles when the thread is done with it. */
  run(job: Job, signal: AbortSignal | undefined, onReport: (report: Report) => void): Promise<Report>
  /** Starts a thread ahead of a job that is to come, unless there is one already. */
  warm(): void
  /** Ends all threads. Running jobs are rejected. */
  close(): Promise<void>
}

export interface ThreadsOptions {
  start: () => Worker
  max: number
  /** How long a thread is kept without work. */
  idleMs: number
}

interface Thread {
  worker: Worker
  idle?: NodeJS.Timeout
}

export function createThreads<Job>({ start: startWorker, max, idleMs }: ThreadsOptions): Threads<Job> {
  const all = new Set<Thread>()
  const free: Thread[] = []
  const waiting: { resolve(thread: Thread): void; reject(reason: unknown): void }[] = []
  let closed = false

  function start(): Thread {
    const worker = startWorker()
    const thread: Thread = { worker }
    all.add(thread)
    worker.once('exit', () => forget(thread))
    // Whoever waits for the thread hears of it too; one that nobody waits for is simply gone.
    worker.on('error', () => {})
    return thread
  }

  function forget(thread: Thread): void {
    all.delete(thread)
    clearTimeout(thread.idle)
    const index = free.indexOf(thread)
    if (index >= 0) free.splice(index, 1)
  }

  async function take(signal: AbortSignal | undefined): Promise<Thread> {
    const thread = free.pop() ?? (all.size < max ? start() : await nextFree(signal))
    clearTimeout(thread.idle)
    thread.worker.ref()
    return thread
  }

  function nextFree(signal: AbortSignal | undefined): Promise<Thread> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason
      const settled = () => signal?.removeEventListener('abort', abort)
      const place = {
        resolve(thread: Thread) {
          settled()
          resolve(thread)
        },
        reject(reason: unknown) {
          settled()
          reject(reason)
        },
      }
      const abort = () => {
        waiting.splice(waiting.indexOf(place), 1)
        place.reject(signal?.reason)
      }
      signal?.addEventListener('abort', abort, { once: true })
      waiting.push(place)
    })
  }

  /** `usable` is false when the thread must not see another job. */
  function giveBack(thread: Thread, usable: boolean): void {
    if (!usable || closed) {
      forget(thread)
      void thread.worker.terminate()
      if (!closed) waiting.shift()?.resolve(start())
      return
    }
    const next = waiting.shift()
    if (next !== undefined) {
      next.resolve(thread)
      return
    }
    keep(thread)
  }

  /** For the next job, but not for ever. */
  function keep(thread: Thread): void {
    // An idle thread does not keep the process running.
    thread.worker.unref()
    thread.idle = setTimeout(() => {
      forget(thread)
      void thread.worker.terminate()
    }, idleMs)
    thread.idle.unref()
    free.push(thread)
  }

  return {
    async run(job, signal, onReport) {
      if (closed) throw closedError()
      const thread = await take(signal)
      let usable = false
      try {
        const last = await finalReport(thread.worker, job, onReport)
        usable = last.type !== 'failed' || !last.unusable
        if (last.type === 'failed') throw fromSentError(last.error)
        return last
      } finally {
        giveBack(thread, usable)
      }
    },
    warm() {
      if (!closed && all.size === 0) keep(start())
    },
    async close() {
      closed = true
      for (const { reject } of waiting.splice(0)) reject(closedError())
      for (const { idle } of free) clearTimeout(idle)
      free.length = 0
      await Promise.all([...all].map(({ worker }) => worker.terminate()))
    },
  }
}

function finalReport(worker: Worker, job: unknown, onReport: (report: Report) => void): Promise<Report> {
  return new Promise((resolve, reject) => {
    const done = () => {
      worker.off('message', onMessage)
      worker.off('error', onError)
      worker.off('exit', onExit)
    }
    const onMessage = (report: Report) => {
      if (report.type === 'drain' || report.type === 'chunk') {
        onReport(report)
        return
      }
      done()
      resolve(report)
    }
    const onError = (error: Error) => {
      done()
      reject(error)
    }
    const onExit = (code: number) => onError(new Error(`the archive thread ended with code ${code}`))
    worker.on('message', onMessage)
    worker.on('error', onError)
    worker.on('exit', onExit)
    worker.postMessage(job)
  })
}

function closedError(): Error {
  return new Error('the archive is closed')
}
