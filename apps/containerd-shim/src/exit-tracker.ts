import { now, type Timestamp } from '@containerd-ts/api'

/** How and when a process ended. */
export interface Exit {
  status: number
  at: Timestamp
}

/** Brings exits, which the kernel reports by pid, to the processes that they belong to. */
export interface ExitTracker {
  /** To be called for every collected child. */
  onExit(pid: number, status: number): void
  /**
   * Announces that a pid is about to become known: a process may be gone before the runtime has told its pid. Exits of unknown pids
   * are kept until every announcement has been ended by calling its result.
   */
  expect(): () => void
  /** Calls `exited` once, at once when it has happened already. */
  track(pid: number, exited: (exit: Exit) => void): void
}

export function createExitTracker(): ExitTracker {
  const tracked = new Map<number, (exit: Exit) => void>()
  const early = new Map<number, Exit>()
  let expected = 0

  return {
    onExit: (pid, status) => {
      const exit = { status, at: now() }
      const exited = tracked.get(pid)
      if (exited !== undefined) {
        tracked.delete(pid)
        exited(exit)
      } else if (expected > 0) early.set(pid, exit)
    },
    expect: () => {
      expected++
      let ended = false
      return () => {
        if (ended) return
        ended = true
        expected--
        if (expected === 0) early.clear()
      }
    },
    track: (pid, exited) => {
      const exit = early.get(pid)
      if (exit === undefined) tracked.set(pid, exited)
      else {
        early.delete(pid)
        exited(exit)
      }
    },
  }
}
