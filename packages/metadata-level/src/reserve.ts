import { existsSync, statSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'

// What LevelDB may need to open again and to write down what was deleted: a table file, a log and a manifest.
const reserveBytes = 8 << 20
const pieceBytes = 1 << 20

/** Room on the disk that is kept for deletions, in a file beside those of the database: where a disk is full, only they make room. */
export class Reserve {
  readonly #path: string
  #held: boolean
  #taking: Promise<void> | undefined

  constructor(directory: string) {
    this.#path = Reserve.path(directory)
    this.#held = existsSync(this.#path) && statSync(this.#path).size === reserveBytes
  }

  static path(directory: string): string {
    return join(directory, 'RESERVE')
  }

  /** False when the disk is full, or was when somebody looked last. */
  get isHeld(): boolean {
    return this.#held
  }

  /** Sets the room aside, once for all who ask. @throws what the disk answers, when there is not so much. */
  take(): Promise<void> {
    this.#taking ??= this.#fill().finally(() => {
      this.#taking = undefined
    })
    return this.#taking
  }

  async #fill(): Promise<void> {
    try {
      const file = await open(this.#path, 'w', 0o600)
      try {
        const zeros = Buffer.alloc(pieceBytes)
        for (let at = 0; at < reserveBytes; at += pieceBytes) await file.write(zeros)
      } finally {
        await file.close()
      }
      this.#held = true
    } catch (error) {
      await this.release()
      throw error
    }
  }

  /** Gives the room away. */
  async release(): Promise<void> {
    this.#held = false
    await rm(this.#path, { force: true }).catch(() => {})
  }
}
