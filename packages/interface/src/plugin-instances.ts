import type { ContentStore } from './content.js'
import type { Differ } from './diff.js'
import type { EventExchange } from './events.js'
import type { ImageVerifier } from './image-verifier.js'
import type { Listener } from './listener.js'
import type { GarbageCollector, LeaseManager, MetadataStore } from './metadata.js'
import type { TaskMonitor, TaskRuntime } from './runtime.js'
import type { ServicePlugin } from './service.js'
import type { Snapshotter } from './snapshots.js'
import type { StreamManager } from './streams.js'
import type { Transferrer } from './transfer.js'

// What `InitContext.get` gives back for each plugin type. Only here, so that a type is there whether or not its plugin is loaded.
declare module '@containerd-ts/plugin' {
  interface PluginInstances {
    'io.containerd.content.v1': ContentStore
    'io.containerd.snapshotter.v1': Snapshotter
    'io.containerd.metadata.v1': MetadataStore
    'io.containerd.lease.v1': LeaseManager
    'io.containerd.gc.v1': GarbageCollector
    'io.containerd.event.v1': EventExchange
    'io.containerd.differ.v1': Differ
    'io.containerd.runtime.v2': TaskRuntime
    'io.containerd.image-verifier.v1': ImageVerifier
    'io.containerd.monitor.task.v1': TaskMonitor
    'io.containerd.grpc.v1': ServicePlugin
    'io.containerd.ttrpc.v1': ServicePlugin
    'io.containerd.server.v1': Listener
    'io.containerd.streaming.v1': StreamManager
    'io.containerd.transfer.v1': Transferrer
  }
}
