/** Snapshotters, content stores and differs of another process, over the containerd API on a unix socket. */
export { connectProxy, type ProxyConnection } from './connection.js'
export { createRemoteContentStore } from './content-store.js'
export { createRemoteDiffer } from './differ.js'
export { createRemoteSnapshotter } from './snapshotter.js'
