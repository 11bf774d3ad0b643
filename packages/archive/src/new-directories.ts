import { readFileSync } from 'node:fs'
import { chmod, chown, mkdir, stat } from 'node:fs/promises'

/** A directory to be made, with exactly that mode whatever the umask. */
export interface NewDirectory {
  path: string
  mode: number
  /** The owner, or a directory whose owner it shall have. Default: that of the process. */
  owner?: { uid: number; gid: number } | { like: string }
}

/**
 * Makes a directory, and then others, which may be in it, at the same time. On no thread of ours, as starting one takes ten times as
 * long as all of this.
 */
export async function makeDirectories(
  [first, ...others]: readonly NewDirectory[],
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted()
  if (first === undefined) return
  const taken = umask()
  await make(first, taken)
  signal?.throwIfAborted()
  const outcomes = await Promise.allSettled(others.map((directory) => make(directory, taken)))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}

// Every call is a way to another thread and back: only those that change something.
async function make({ path, mode, owner }: NewDirectory, taken: number): Promise<void> {
  const wanted = owner !== undefined && 'like' in owner ? await stat(owner.like) : owner
  await mkdir(path, mode)
  const changesOwner = wanted !== undefined && (wanted.uid !== process.geteuid?.() || wanted.gid !== process.getegid?.())
  if (changesOwner) await chown(path, wanted.uid, wanted.gid)
  // A change of the owner takes the set-id bits away, and not every system gives them at once.
  if (mode > 0o777 || (mode & taken) !== 0) await chmod(path, mode)
}

/** The bits that new files lose. Node has no way to look without a change that other threads see. */
function umask(): number {
  return Number.parseInt(/^Umask:\s+(\d+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '777', 8)
}
