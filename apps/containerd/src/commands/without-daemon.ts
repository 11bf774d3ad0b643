import { isErrno } from '@containerd-ts/interface'
import { type DaemonConfig, lockRoot, RootInUseError } from '@containerd-ts/server'

/** Runs `work` while no daemon can have the root. @throws RootInUseError that says what to do */
export async function withoutDaemon<T>(config: DaemonConfig, work: () => Promise<T>): Promise<T> {
  const lock = claim(config.root)
  try {
    return await work()
  } finally {
    lock?.release()
  }
}

function claim(root: string) {
  try {
    return lockRoot(root)
  } catch (error) {
    if (error instanceof RootInUseError) throw new RootInUseError(`${error.message}: stop it first`)
    // Where nobody can write there is no daemon either.
    if (isErrno(error, 'EROFS')) return undefined
    throw error
  }
}
