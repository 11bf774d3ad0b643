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
  /** Announces that a pid is about to become known: its process may be gone before the runtime has told the pid. */
  expect(): Expectation
}

/** While it lasts, exits of unknown pids are kept. */
export interface Expectation {
  /** Calls `exited` once, at once when it has happened already since the expectation began. */
  track(pid: number, exited: (exit: Exit) => void): void
  end(): void
}

export function createExitTracker(): ExitTracker {
  const tracked = new Map<number, (exit: Exit) => void>()
  // In the order of their numbers, which is that of their coming.
  const early = new Map<number, { exit: Exit; number: number }>()
  const expectations = new Set<{ since: number }>()
  let count = 0

  return {
    onExit: (pid, status) => {
      const exit = { status, at: now() }
      const exited = tracked.get(pid)
      if (exited !== undefined) {
        tracked.delete(pid)
        exited(exit)
      } else if (expectations.size > 0) {
        early.delete(pid)
        early.set(pid, { exit, number: count++ })
      }
    },
    expect: () => {
      // What came before is about another process, whose pid may have been given out again.
      const expectation = { since: count }
      expectations.add(expectation)
      return {
        track: (pid, exited) => {
          const found = early.get(pid)
          if (found === undefined || found.number < expectation.since) tracked.set(pid, exited)
          else {
            early.delete(pid)
            exited(found.exit)
          }
        },
        end: () => {
          expectations.delete(expectation)
          const oldest = Math.min(count, ...[...expectations].map(({ since }) => since))
          for (const [pid, { number }] of early) {
            if (number >= oldest) break
            early.delete(pid)
          }
        },
      }
    },
  }
}
