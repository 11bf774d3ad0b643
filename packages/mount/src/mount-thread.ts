import { Worker } from 'node:worker_threads'
import { type MountCall, SystemError } from '@containerd-ts/linux'

/** What the thread is given. */
export interface MountJob {
  directory: string
  call: MountCall
}

/** What it answers: nothing, or the failed system call. */
export type MountOutcome = { code: string; errno: number; syscall: string; path?: string } | undefined

/** mount(2) with paths relative to `directory`, by a thread of its own: the working directory of the process must not change. */
export function mountFrom(directory: string, call: MountCall): Promise<void> {
  const job: MountJob = { directory, call }
  const thread = new Worker(new URL('./mount-worker.js', import.meta.url), { workerData: job })
  return new Promise((resolve, reject) => {
    thread.once('error', reject)
    thread.once('exit', (code) => reject(new Error(`the mounting thread ended with code ${code}`)))
    thread.once('message', (outcome: MountOutcome) => {
      if (outcome === undefined) resolve()
      else reject(new SystemError(outcome.code, outcome.errno, outcome.syscall, outcome.path))
    })
  })
}
