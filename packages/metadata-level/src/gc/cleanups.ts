import { background, type Snapshotter } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import { withDeadline } from '../deadline.js'

/** Lets snapshotters delete what they have removed, which may take long: one run of each at a time, and nobody waits for long. */
export class Cleanups {
  readonly #running = new Map<string, Promise<void>>()

  constructor(readonly log: Logger) {}

  /** Settles when the snapshotter is done, or goes on without those who wait. A clean-up that fails is told in the log. */
  async run(name: string, snapshotter: Snapshotter, deadlineMs: number): Promise<void> {
    if (snapshotter.cleanup === undefined) return
    let running = this.#running.get(name)
    if (running === undefined) {
      running = snapshotter
        .cleanup(background('', { log: this.log }))
        .catch((error: unknown) => this.log.warn('cannot clean a snapshotter up', { snapshotter: name, error }))
        .finally(() => this.#running.delete(name))
      this.#running.set(name, running)
    }
    const waiting = running
    await withDeadline(`clean-up of snapshotter ${name}`, deadlineMs, () => waiting).catch((error: unknown) =>
      this.log.warn('a clean-up takes long', { snapshotter: name, error }),
    )
  }
}
