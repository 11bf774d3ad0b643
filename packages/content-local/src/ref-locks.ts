import { now, type Timestamp, timestampMs } from '@containerd-ts/api'
import { type ContentWriter, UnavailableError } from '@containerd-ts/interface'

/** Held by the one writer of a ref. */
export interface RefLock {
  /** Tells who holds it, so that the state of the ingest can be asked without reading the disk. */
  hold(writer: ContentWriter): void
  release(): void
}

interface Holder {
  since: Timestamp
  writer?: ContentWriter
}

/** Locks of refs, in memory: a restart frees them all. */
export class RefLocks {
  readonly #holders = new Map<string, Holder>()

  /** @throws UnavailableError when another writer has the ref. */
  acquire(ref: string): RefLock {
    const other = this.#holders.get(ref)
    if (other !== undefined) {
      const since = timestampMs(other.since)
      throw new UnavailableError(`ref ${ref} locked for ${(Date.now() - since) / 1000}s (since ${new Date(since).toISOString()})`)
    }
    const holder: Holder = { since: now() }
    this.#holders.set(ref, holder)
    return {
      hold: (writer) => {
        holder.writer = writer
      },
      release: () => {
        if (this.#holders.get(ref) === holder) this.#holders.delete(ref)
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
