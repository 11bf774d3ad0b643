import { readFileSync, writeFileSync } from 'node:fs'
import { isErrno } from './errno.js'
import { bind, check } from './libc.js'

const prctl = bind('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)')
const PR_SET_CHILD_SUBREAPER = 36
const PR_SCHED_CORE = 62
const PR_SCHED_CORE_CREATE = 1
const PIDTYPE_TGID = 1

/** Makes this process the parent of descendants whose own parent ends. */
export function setChildSubreaper(): void {
  check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 'prctl')
}

/** Sends a signal; that the process is gone already is no error. */
export function killQuietly(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}

/** How much the kernel prefers a process when memory runs out: -1000 never, 1000 first. */
export function oomScoreAdj(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'))
}

/** Sets {@link oomScoreAdj}; lowering it needs CAP_SYS_RESOURCE. */
export function setOomScoreAdj(pid: number, value: number): void {
  writeFileSync(`/proc/${pid}/oom_score_adj`, String(value))
}

/**
 * Keeps a process, and what it starts from here on, from sharing a core's hyperthreads with anything else.
 *
 * @throws SystemError EINVAL or ENODEV where the kernel or the processor does not know of it.
 */
export function createCoreSchedulingGroup(pid: number): void {
  check(prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, pid, PIDTYPE_TGID, 0), 'prctl')
}

/** Makes the kernel take a process before `below`, for instance a shim before its daemon. Where that is not permitted, nothing happens. */
export function raiseOomScore(pid: number, below: number): void {
  try {
    setOomScoreAdj(pid, Math.min(oomScoreAdj(below) + 1, 1000))
  } catch (error) {
    // It may have ended already, which shows elsewhere.
    if (!['EACCES', 'EPERM', 'ENOENT', 'ESRCH'].some((code) => isErrno(error, code))) throw error
  }
}
