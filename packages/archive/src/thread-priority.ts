import { setPriority } from 'node:os'

// As `nice -n 5`: a third of the processor's time where two compete for it.
const niceness = 5

/** Has the calling thread, on Linux that alone, come after the one that answers clients where there are not processors enough. */
export function comeAfterClients(): void {
  setPriority(niceness)
}
