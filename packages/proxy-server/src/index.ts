/** Serves plugins written in TypeScript to a containerd in another process, this project's or any other. */
import type { ContentStore, Differ, Snapshotter } from '@containerd-ts/interface'
import { type Logger, silentLogger } from '@containerd-ts/plugin'
import { grpcServer, type SocketOwner } from '@containerd-ts/server'
import { contentServiceOf } from '@containerd-ts/service-content/service'
import { diffServiceOf } from '@containerd-ts/service-diff/service'
import { snapshotsServiceOf } from '@containerd-ts/service-snapshots/service'

/** What is served, and where. */
export interface ServePluginsOptions {
  /** Path of the unix socket; a file left by a process that died is replaced. */
  address: string
  /** By the name that the daemon's `[proxy_plugins.NAME]` has. */
  snapshotters?: Readonly<Record<string, Snapshotter>>
  content?: ContentStore
  differ?: Differ
  /** Whom the socket belongs to. Default: the user of this process. */
  owner?: SocketOwner
  log?: Logger
}

/** A socket on which plugins are served. */
export interface ServedPlugins {
  readonly address: string
  /** Stops serving and removes the socket. What was served is the caller's to close. */
  close(): Promise<void>
}

/**
 * Serves plugins on a unix socket, until `close()`.
 *
 * @throws ConfigFileError when the path is too long, is no socket, or another process serves it.
 */
export async function servePlugins(options: ServePluginsOptions): Promise<ServedPlugins> {
  const { address, snapshotters, content, differ, owner, log = silentLogger } = options
  const services = [
    ...(snapshotters === undefined
      ? []
      : [snapshotsServiceOf({ snapshotters: new Map(Object.entries(snapshotters)), offersCleanup: true })]),
    ...(content === undefined ? [] : [contentServiceOf({ content })]),
    ...(differ === undefined ? [] : [diffServiceOf({ differ })]),
  ]
  const server = grpcServer(services, { address, log, ...(owner && { owner }) })
  await server.start()
  return { address, close: () => server.close() }
}
