/**
 * The plugin types. The strings are containerd's; a type not listed here is as good as one that is.
 *
 * What a plugin of a type must offer is declared by merging into {@link PluginInstances}, which `@containerd-ts/interface` does.
 */
export const PluginType = {
  /** Everything: in `requires`, "after all others". */
  All: '*',
  Content: 'io.containerd.content.v1',
  Differ: 'io.containerd.differ.v1',
  Event: 'io.containerd.event.v1',
  GC: 'io.containerd.gc.v1',
  GRPC: 'io.containerd.grpc.v1',
  ImageVerifier: 'io.containerd.image-verifier.v1',
  Internal: 'io.containerd.internal.v1',
  Lease: 'io.containerd.lease.v1',
  Metadata: 'io.containerd.metadata.v1',
  Metrics: 'io.containerd.metrics.v1',
  Monitor: 'io.containerd.monitor.v1',
  ContainerMonitor: 'io.containerd.monitor.container.v1',
  TaskMonitor: 'io.containerd.monitor.task.v1',
  Runtime: 'io.containerd.runtime.v1',
  RuntimeV2: 'io.containerd.runtime.v2',
  Service: 'io.containerd.service.v1',
  Shim: 'io.containerd.shim.v1',
  Snapshotter: 'io.containerd.snapshotter.v1',
  Server: 'io.containerd.server.v1',
  Streaming: 'io.containerd.streaming.v1',
  Transfer: 'io.containerd.transfer.v1',
  TTRPC: 'io.containerd.ttrpc.v1',
  Warning: 'io.containerd.warning.v1',
} as const

/** Plugin type to the interface its plugins fulfil; empty here and filled by declaration merging. */
// biome-ignore lint/suspicious/noEmptyInterface: the point of declaration merging.
export interface PluginInstances {}

/** What a plugin of type `T` gives back from `init`. */
export type InstanceOf<T extends string> = T extends keyof PluginInstances ? PluginInstances[T] : unknown
