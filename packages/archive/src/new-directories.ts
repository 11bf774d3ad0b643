import { chmod, chown, mkdir, stat } from 'node:fs/promises'

/** A directory to be made, with exactly that mode whatever the umask. */
export interface NewDirectory {
  path: string
  mode: number
  /** The owner, or a directory whose owner it shall have. Default: that of the process. */
  owner?: { uid: number; gid: number } | { like: string }
}

/** Makes directories one after the other. On no thread of ours, as starting one takes ten times as long as all of this. */
export async function makeDirectories(directories: readonly NewDirectory[], signal: AbortSignal | undefined): Promise<void> {
  const finishing: Promise<void>[] = []
  try {
    for (const directory of directories) {
      signal?.throwIfAborted()
      await mkdir(directory.path, directory.mode)
      // What stands in it need not wait.
      const finished = finish(directory)
      finished.catch(() => {})
      finishing.push(finished)
    }
  } finally {
    await Promise.allSettled(finishing)
  }
  await Promise.all(finishing)
}

async function finish({ path, mode, owner }: NewDirectory): Promise<void> {
  if (owner !== undefined) {
    const { uid, gid } = 'like' in owner ? await stat(owner.like) : owner
    await chown(path, uid, gid)
  }
  // After the owner, whose change takes the set-id bits away.
  await chmod(path, mode)
}
