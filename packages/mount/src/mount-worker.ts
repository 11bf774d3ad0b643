import { parentPort, workerData } from 'node:worker_threads'
import { changeDirectory, mountSync, SystemError, Unshare, unshare } from '@containerd-ts/linux'
import type { MountJob, MountOutcome } from './mount-thread.js'

// The mount table stays the process': only the working directory is this thread's own.
function run({ directory, call }: MountJob): MountOutcome {
  try {
    unshare(Unshare.Filesystem)
    changeDirectory(directory)
    mountSync(call)
    return undefined
  } catch (error) {
    if (!(error instanceof SystemError)) throw error
    const { code, errno, syscall, path } = error
    return { code, errno, syscall, ...(path !== undefined && { path }) }
  }
}

parentPort?.postMessage(run(workerData as MountJob))
