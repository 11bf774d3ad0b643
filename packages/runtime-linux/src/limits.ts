/** How long a shim is given to answer, in milliseconds; each named as in the daemon's `[timeouts]`. */
export interface ShimLimits {
  /** To say that it is there. */
  load: number
  /** To clear away what a dead one left. */
  cleanup: number
  /** To end. */
  shutdown: number
  /** To tell the state of a process, or anything else that it knows by heart. */
  state: number
  /** To tell what a container uses. */
  stats: number
  /** To have the OCI runtime do something. */
  operation: number
  checkpoint: number
}

/** Reads the limits from the daemon's configuration. */
export function shimLimits(timeoutMs: (key: string) => number): ShimLimits {
  const of = (name: string) => timeoutMs(`io.containerd.timeout.${name}`)
  return {
    load: of('shim.load'),
    cleanup: of('shim.cleanup'),
    shutdown: of('shim.shutdown'),
    state: of('task.state'),
    stats: of('metrics.shimstats'),
    operation: of('task.operation'),
    checkpoint: of('task.checkpoint'),
  }
}
