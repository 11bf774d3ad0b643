import { ClassicLevel } from 'classic-level'

export type Operation = { type: 'put'; key: string; value: string } | { type: 'del'; key: string }

interface Pending {
  operations: readonly Operation[]
  undo: () => void
  resolve: () => void
  reject: (error: unknown) => void
}

/** A LevelDB whose concurrent writers share synced batches. */
export interface Database {
  entries(): AsyncIterable<[string, string]>
  /**
   * Settles when the operations are on disk. `undo` is called, latest first, when they cannot be written: whatever the caller has
   * changed in memory by then must not stay.
   */
  write(operations: readonly Operation[], undo: () => void): Promise<void>
  close(): Promise<void>
}

/** Opens the database in a directory of its own, making it where missing. */
export async function openDatabase(directory: string): Promise<Database> {
  const level = new ClassicLevel<string, string>(directory)
  await level.open()
  let pending: Pending[] = []
  let flushing: Promise<void> | undefined

  async function flush(): Promise<void> {
    // One turn of the loop lets writers of the same moment share a batch.
    await Promise.resolve()
    while (pending.length > 0) {
      const group = pending
      pending = []
      try {
        await level.batch(
          group.flatMap(({ operations }) => operations),
          { sync: true },
        )
        for (const { resolve } of group) resolve()
      } catch (error) {
        // Later writers may have built on what failed: all that is not on disk goes.
        const lost = [...group, ...pending]
        pending = []
        for (const { undo } of [...lost].reverse()) undo()
        for (const { reject } of lost) reject(error)
      }
    }
    flushing = undefined
  }

  return {
    entries: () => level.iterator({ highWaterMarkBytes: 1024 * 1024 }),
    write: (operations, undo) =>
      new Promise((resolve, reject) => {
        pending.push({ operations, undo, resolve, reject })
        flushing ??= flush()
      }),
    async close() {
      await flushing
      await level.close()
    },
  }
}
