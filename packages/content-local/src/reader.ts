import { type ContentReader, isErrno, NotFoundError } from '@containerd-ts/interface'
import { File } from './file.js'
import { ReadAhead } from './read-ahead.js'

interface OpenBlob {
  readonly file: Promise<File>
  readers: number
  /** When the last reader closed it. */
  idleSince: number
  readonly ahead: ReadAhead
}

// Clients read a blob in many short calls, each with a reader of its own: most of their time would go into opening and closing.
const maxIdle = 32
const idleMs = 2000

/** Opens blobs for random access. Files stay open for a while after their last reader, for the next one. */
export class Readers {
  readonly #open = new Map<string, OpenBlob>()
  #timer: NodeJS.Timeout | undefined

  /** @throws NotFoundError */
  async open(path: string, digest: string): Promise<ContentReader> {
    let blob = this.#open.get(digest)
    if (blob === undefined) {
      const file = File.open(path, 'r')
      blob = { file, readers: 0, idleSince: 0, ahead: new ReadAhead(file) }
      this.#open.set(digest, blob)
    }
    blob.readers++
    try {
      return this.#reader(blob, digest, await blob.file)
    } catch (cause) {
      if (this.#open.get(digest) === blob) this.#open.delete(digest)
      if (isErrno(cause, 'ENOENT')) throw new NotFoundError(`content digest ${digest}`, { cause })
      throw cause
    }
  }

  #reader(blob: OpenBlob, digest: string, file: File): ContentReader {
    let closed = false
    return {
      sizeBytes: file.sizeBytes(),
      read: (target, offset) => blob.ahead.read(target, offset),
      close: async () => {
        if (closed) return
        closed = true
        blob.readers--
        if (blob.readers > 0) return
        // Forgotten meanwhile: the blob was deleted.
        if (this.#open.get(digest) !== blob) return file.close().catch(() => {})
        blob.idleSince = performance.now()
        // Last used, last closed.
        this.#open.delete(digest)
        this.#open.set(digest, blob)
        await this.#closeIdle()
      },
    }
  }

  /** A deleted blob takes space for as long as it is open, so it is closed with its last reader. */
  async forget(digest: string): Promise<void> {
    const blob = this.#open.get(digest)
    this.#open.delete(digest)
    if (blob !== undefined && blob.readers === 0) await (await blob.file).close().catch(() => {})
  }

  async #closeIdle(): Promise<void> {
    const now = performance.now()
    const idle = [...this.#open].filter(([, { readers }]) => readers === 0)
    const old = idle.filter(([, { idleSince }], index) => index < idle.length - maxIdle || now - idleSince >= idleMs)
    if (old.length < idle.length) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        void this.#closeIdle()
      }, idleMs).unref()
    }
    for (const [digest] of old) await this.forget(digest)
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    for (const digest of [...this.#open.keys()]) await this.forget(digest)
  }
}
