import { isNotFound } from '@containerd-ts/interface'
import { TransportFailure } from './transport-failure.js'

/** Of the errors of several hosts, the one that says most: the first from a host that answered something else than "not found". */
export function collectErrors() {
  let chosen: { error: unknown; rank: number } | undefined
  return {
    add(error: unknown) {
      const rank = rankOf(error)
      if (chosen === undefined || chosen.rank < rank) chosen = { error, rank }
    },
    /** True when no host said anything but "not found", if it said anything. */
    isNothingElse: () => chosen === undefined || chosen.rank < 3,
    /** The error to throw; `otherwise` when there was none. */
    chosen: (otherwise: () => unknown) => (chosen === undefined ? otherwise() : chosen.error),
  }
}

function rankOf(error: unknown): number {
  if (error instanceof Error && error.cause instanceof TransportFailure) return 1
  return isNotFound(error) ? 2 : 3
}
