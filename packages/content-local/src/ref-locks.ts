import { now, type Timestamp, timestampMs } from '@containerd-ts/api'
import { type ContentWriter, UnavailableError } from '@containerd-ts/interface'

/** Held by the one writer of a ref. */
export interface RefLock {
  /** Tells who holds it, so that the state of the ingest can be asked without reading the disk. */
  hold(writer: ContentWriter): void
  /** Its writer takes nothing any more and is about to let go: from here on others wait instead of being refused. */
  closing(): void
  release(): void
}

interface Holder {
  since: Timestamp
  writer?: ContentWriter
  closing: boolean
  readonly released: Promise<void>
}

/** Locks of refs, in memory: a restart frees them all. */
export class RefLocks {
  readonly #holders = new Map<string, Holder>()

  /**
   * Takes the lock at once or not at all, but for one that is about to be free: a client that closes a writer does not wait until what
   * it wrote is on disk, and may open the ref again meanwhile.
   *
   * @throws UnavailableError when another writer has the ref.
   */
  async acquire(ref: string): Promise<RefLock> {
    for (let other = this.#holders.get(ref); other !== undefined; other = this.#holders.get(ref)) {
      if (!other.closing) throw locked(ref, other.since)
      await other.released
    }
    let released = () => {}
    const holder: Holder = {
      since: now(),
      closing: false,
      released: new Promise((resolve) => {
        released = resolve
      }),
    }
    this.#holders.set(ref, holder)
    return {
      hold: (writer) => {
        holder.writer = writer
      },
      closing: () => {
        holder.closing = true
      },
      release: () => {
        if (this.#holders.get(ref) === holder) this.#holders.delete(ref)
        released()
      },
    }
  }

  /** Forgets the writer's view of a ref, not its lock. */
  disown(ref: string): void {
    delete this.#holders.get(ref)?.writer
  }

  /** The writer that holds the ref. */
  writer(ref: string): ContentWriter | undefined {
    return this.#holders.get(ref)?.writer
  }
}

function locked(ref: string, since: Timestamp): Error {
  const sinceMs = timestampMs(since)
  return new UnavailableError(
    `ref ${ref} locked for ${(Date.now() - sinceMs) / 1000}s (since ${new Date(sinceMs).toISOString()})`,
  )
}
