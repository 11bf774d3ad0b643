import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { isErrno } from '@containerd-ts/interface'

const digits = 16

/**
 * How many batches were acknowledged, in a file beside those of LevelDB, which leaves files that it does not know alone. LevelDB takes a
 * log that ends early for a crash and goes on without the rest; the mark tells that from a loss.
 *
 * It is written after the batch is on disk and not synced itself: what it says was there.
 */
export class CommitMark {
  readonly #fd: number
  readonly #line = Buffer.alloc(digits + 1, '\n')

  private constructor(fd: number) {
    this.#fd = fd
  }

  static path(directory: string): string {
    return join(directory, 'COMMITS')
  }

  static open(directory: string): CommitMark {
    return new CommitMark(openSync(CommitMark.path(directory), constants.O_RDWR | constants.O_CREAT, 0o600))
  }

  /** The number in the mark of a database, 0 when there is none that can be read. */
  static read(directory: string): number {
    try {
      const [line = ''] = /^\d{16}(?=\n)/.exec(readFileSync(CommitMark.path(directory), 'latin1')) ?? []
      return Number(line)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return 0
      throw error
    }
  }

  write(commits: number): void {
    this.#line.write(String(commits).padStart(digits, '0'), 'latin1')
    // In place: at no moment is there less than a whole line.
    writeSync(this.#fd, this.#line, 0, this.#line.length, 0)
  }

  close(): void {
    closeSync(this.#fd)
  }
}
