import type { ProcessTable } from './process-table.js'

export interface WatchProcessesOptions<T extends { readonly processes: ProcessTable }> {
  everyMs: number
  signal: AbortSignal
  tasks(): Iterable<T>
  /** Called for a process that was missing twice in a row, and for one of which nothing is known. */
  lost(task: T, execId: string): void
}

/**
 * Looks now and then whether the processes that are said to live are there. What the kernel does not have any more, and what no event
 * has told by the next look, has been missed.
 */
export function watchProcesses<T extends { readonly processes: ProcessTable }>(options: WatchProcessesOptions<T>): void {
  let missing = new Set<string>()
  const look = () => {
    const missed = new Set<string>()
    for (const task of options.tasks()) {
      for (const { execId, pid, status } of task.processes.living()) {
        if (status === 'unknown') options.lost(task, execId)
        else if (!isThere(pid)) {
          const key = `${pid} ${execId}`
          if (missing.has(key)) options.lost(task, execId)
          else missed.add(key)
        }
      }
    }
    missing = missed
  }
  const timer = setInterval(look, options.everyMs).unref()
  options.signal.addEventListener('abort', () => clearInterval(timer), { once: true })
}

/** Whether the kernel has a process of that pid, a dead one that nobody has collected included. */
export function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's, which is there.
    return typeof error === 'object' && error !== null && 'code' in error && error.code === 'EPERM'
  }
}
