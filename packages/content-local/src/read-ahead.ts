import type { File } from './file.js'

// Clients that read through a small buffer ask for 32 KiB at a time: so many of those come from one read of the disk.
const windowBytes = 256 * 1024

/** Reads a file that does not change. Who reads it in small pieces one after the other gets most of them from memory. */
export class ReadAhead {
  #window: Buffer | undefined
  #start = 0
  /** Where the last read ended. */
  #next = 0

  constructor(readonly file: Promise<File>) {}

  /** Fills `target` as far as there are bytes; gives back their number. */
  async read(target: Uint8Array, offset: number): Promise<number> {
    const known = this.#copy(target, offset)
    const count = known > 0 ? known : await this.#readOn(target, offset)
    this.#next = offset + count
    return count
  }

  async #readOn(target: Uint8Array, offset: number): Promise<number> {
    const file = await this.file
    if (offset === 0 || offset !== this.#next || target.byteLength > windowBytes / 2) return file.read(target, offset)
    const window = Buffer.allocUnsafe(windowBytes)
    const length = await file.read(window, offset)
    this.#window = window.subarray(0, length)
    this.#start = offset
    return this.#copy(target, offset)
  }

  /** Copies what is in memory of a whole read; 0 when a part is missing. */
  #copy(target: Uint8Array, offset: number): number {
    if (this.#window === undefined) return 0
    const from = offset - this.#start
    // A window that is not full ends where the file does.
    const isLast = this.#window.byteLength < windowBytes
    if (from < 0 || from >= this.#window.byteLength) return 0
    if (from + target.byteLength > this.#window.byteLength && !isLast) return 0
    const part = this.#window.subarray(from, from + target.byteLength)
    target.set(part)
    return part.byteLength
  }
}
