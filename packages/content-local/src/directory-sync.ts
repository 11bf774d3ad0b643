import { open } from 'node:fs/promises'

/** Writes directories to disk; callers that come while a sync is under way share the next one. */
export class DirectorySync {
  readonly #running = new Map<string, { current: Promise<void>; next?: Promise<void> }>()

  /** Settles when everything that was in `directory` at the time of the call is on disk. */
  sync(directory: string): Promise<void> {
    const running = this.#running.get(directory)
    if (running === undefined) {
      const current = syncDirectory(directory).finally(() => {
        if (this.#running.get(directory)?.current === current) this.#running.delete(directory)
      })
      this.#running.set(directory, { current })
      return current
    }
    // The sync under way may have begun before the caller's change.
    running.next ??= running.current
      .catch(() => {})
      .then(() => {
        this.#running.delete(directory)
        return this.sync(directory)
      })
    return running.next
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
