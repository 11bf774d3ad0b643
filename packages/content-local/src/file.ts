import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { DataLossError } from '@containerd-ts/interface'

const open = promisify(fs.open)
const close = promisify(fs.close)
const fsync = promisify(fs.fsync)
const fdatasync = promisify(fs.fdatasync)
const ftruncate = promisify(fs.ftruncate)
// Promisified these give back an object each time; the count alone is all that is needed.
const pread = (fd: number, target: Uint8Array, offset: number, length: number, position: number) =>
  new Promise<number>((resolve, reject) => {
    fs.read(fd, target, offset, length, position, (error, count) => (error === null ? resolve(count) : reject(error)))
  })
const pwrite = (fd: number, data: Uint8Array, offset: number, length: number, position: number) =>
  new Promise<number>((resolve, reject) => {
    fs.write(fd, data, offset, length, position, (error, count) => (error === null ? resolve(count) : reject(error)))
  })

/** An open file. What touches only memory is done at once, everything else on the thread pool. */
export class File {
  #fd: number

  private constructor(fd: number) {
    this.#fd = fd
  }

  static async open(path: string, flags: string, mode?: number): Promise<File> {
    return new File(await open(path, flags, mode))
  }

  /** Fills `target` as far as there are bytes; gives back their number. */
  async read(target: Uint8Array, position: number): Promise<number> {
    let length = 0
    while (length < target.byteLength) {
      const count = await pread(this.#fd, target, length, target.byteLength - length, position + length)
      if (count === 0) break
      length += count
    }
    return length
  }

  async write(data: Uint8Array, position: number): Promise<void> {
    for (let start = 0; start < data.byteLength; ) {
      const count = await pwrite(this.#fd, data, start, data.byteLength - start, position + start)
      if (count === 0) throw new DataLossError('short write')
      start += count
    }
  }

  truncate(): Promise<void> {
    return ftruncate(this.#fd, 0)
  }

  sync(): Promise<void> {
    return fsync(this.#fd)
  }

  /** As `sync`, without what reading the data back does not need. */
  syncData(): Promise<void> {
    return fdatasync(this.#fd)
  }

  sizeBytes(): number {
    return fs.fstatSync(this.#fd).size
  }

  chmod(mode: number): void {
    fs.fchmodSync(this.#fd, mode)
  }

  /** Sets the modification time, in microseconds since 1970. */
  touch(micros: number): void {
    // What is below a microsecond is cut off somewhere on the way.
    const seconds = (micros + 0.5) / 1e6
    fs.futimesSync(this.#fd, seconds, seconds)
  }

  /** Closes a file that has a name. Twice is harmless. */
  closeSync(): void {
    const fd = this.#take()
    if (fd !== undefined) fs.closeSync(fd)
  }

  /** Closes, which frees the blocks of a file without a name, and that may take long. Twice is harmless. */
  async close(): Promise<void> {
    const fd = this.#take()
    if (fd !== undefined) await close(fd)
  }

  #take(): number | undefined {
    const fd = this.#fd
    this.#fd = -1
    return fd < 0 ? undefined : fd
  }
}
