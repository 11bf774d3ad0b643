/** What a plugin of type `io.containerd.server.v1` gives back: a socket that serves what other plugins offer. */
export interface Listener {
  /** Opens the socket. Called after every plugin is initialised. */
  start(): Promise<void>
  /** Stops accepting and ends what is under way. */
  close(): Promise<void>
}

/** Instances that have figures for the metrics listener. */
export interface MetricsSource {
  /** Metrics in the Prometheus text format. */
  prometheus(): Promise<string>
}

/** True for an instance that has figures for the metrics listener. */
export function isMetricsSource(instance: unknown): instance is MetricsSource {
  return (
    typeof instance === 'object' && instance !== null && 'prometheus' in instance && typeof instance.prometheus === 'function'
  )
}

/** Instances that tell the debug listener how much they hold, so that what is never let go can be seen. */
export interface DebugSource {
  /** Counts by name. */
  debugVars(): Readonly<Record<string, number>>
}

/** True for an instance that tells the debug listener how much it holds. */
export function isDebugSource(instance: unknown): instance is DebugSource {
  return typeof instance === 'object' && instance !== null && 'debugVars' in instance && typeof instance.debugVars === 'function'
}
