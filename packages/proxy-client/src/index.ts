/** Stores, snapshotters and differs of another process, over the containerd API on a unix socket. */
export { connectProxy, type ProxyConnection } from './connection.js'
export { createRemoteContainerStore } from './container-store.js'
export { createRemoteContentStore } from './content-store.js'
export { createRemoteDiffer } from './differ.js'
export { createRemoteImageStore } from './image-store.js'
export { createRemoteLeaseManager } from './lease-manager.js'
export { createRemoteNamespaceStore } from './namespace-store.js'
export { createRemoteSnapshotter } from './snapshotter.js'
