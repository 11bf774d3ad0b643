import { closeSync } from 'node:fs'
import { now, type Timestamp } from '@containerd-ts/api'
import { exitStatusOf, pollReadable } from '@containerd-ts/linux'

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
  /**
   * Follows a process that is no child, by its pidfd, which is taken over. Its status is {@link unknownStatus} where the kernel does not
   * tell it.
   */
  adopt(pid: number, processFd: number, exited: (exit: Exit) => void): void
  /** How many processes are followed, and how many exits are kept for processes that are not known yet. */
  counts(): { followed: number; earlyExits: number; expectations: number }
}

/** How a process has ended of which nobody knows. */
export const unknownStatus = 255

// How long its parent, which is init most often, is given to collect it: the kernel tells the status only then.
const collectLimitMs = 1000
const lookEveryMs = 5

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
  let adopted = 0

  return {
    counts: () => ({ followed: tracked.size + adopted, earlyExits: early.size, expectations: expectations.size }),
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
    adopt: (pid, processFd, exited) => {
      adopted++
      const poll = pollReadable(processFd, () => {
        poll.close()
        const at = now()
        const deadline = performance.now() + collectLimitMs
        const look = () => {
          const status = exitStatusOf(processFd, pid)
          if (status === undefined && performance.now() < deadline) {
            setTimeout(look, lookEveryMs)
            return
          }
          closeSync(processFd)
          adopted--
          exited({ status: status ?? unknownStatus, at })
        }
        look()
      })
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
