import { type FileHandle, open } from 'node:fs/promises'

interface Directory {
  readonly handle: Promise<FileHandle>
  /** The sync under way. */
  running?: Promise<void>
  /** The one after it, which all share who came since it began. */
  next?: Promise<void>
}

/** Writes directories to disk. They stay open, and callers that come during a sync share the next one. */
export class DirectorySync {
  readonly #directories = new Map<string, Directory>()

  /** Settles when everything that was in the directory at the time of the call is on disk. */
  sync(path: string): Promise<void> {
    let directory = this.#directories.get(path)
    if (directory === undefined) {
      directory = { handle: open(path, 'r') }
      this.#directories.set(path, directory)
    }
    return syncShared(directory)
  }

  async close(): Promise<void> {
    const directories = [...this.#directories.values()]
    this.#directories.clear()
    for (const { handle } of directories) await (await handle).close()
  }
}

function syncShared(directory: Directory): Promise<void> {
  if (directory.running !== undefined) {
    // It may have begun before the caller's change.
    directory.next ??= directory.running
      .catch(() => {})
      .then(() => {
        delete directory.next
        return syncShared(directory)
      })
    return directory.next
  }
  directory.running = directory.handle
    .then((handle) => handle.sync())
    .finally(() => {
      delete directory.running
    })
  return directory.running
}
