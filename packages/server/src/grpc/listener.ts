import { rm } from 'node:fs/promises'
import type { BoundService, Listener, MetricsSource } from '@containerd-ts/interface'
import { flag, integer, type Logger, PluginType, type Registration, text } from '@containerd-ts/plugin'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { prepareSocket, processOwner, protectSocket, type SocketOwner } from '../unix-socket.js'
import { addService } from './adapter.js'
import { createCallCounters } from './counters.js'

const mebibyte = 1024 * 1024

interface GrpcListenerConfig {
  address: string
  uid: number
  gid: number
  max_recv_message_size: number
  max_send_message_size: number
}

/** Serves every plugin of type `io.containerd.grpc.v1` on a unix socket. */
export const grpcListener: Registration<typeof PluginType.Server, GrpcListenerConfig> = {
  type: PluginType.Server,
  id: 'grpc',
  after: ['*'],
  config: {
    address: text({ default: '/run/containerd/containerd.sock', doc: 'Path of the unix socket of the gRPC API.' }),
    uid: integer({ default: process.geteuid?.() ?? 0, doc: 'Owner of the socket; by default the user of the daemon.' }),
    gid: integer({ default: process.getegid?.() ?? 0, doc: 'Group of the socket; its members may use the API.' }),
    max_recv_message_size: integer({ default: 16 * mebibyte, min: 1, doc: 'Largest accepted message in bytes.' }),
    max_send_message_size: integer({ default: 16 * mebibyte, min: 1, doc: 'Largest sent message in bytes.' }),
  },
  init: ({ config, log, getAll }) =>
    grpcServer(
      [...getAll(PluginType.GRPC).values()].flatMap((plugin) => plugin.services),
      {
        address: config.address,
        owner: config,
        maxReceiveBytes: config.max_recv_message_size,
        maxSendBytes: config.max_send_message_size,
        histogram: wantsHistogram(getAll(PluginType.Metrics).get(grpcMetrics.id)),
        log,
      },
    ),
}

/** What is counted of gRPC calls; the figures are the listener's. */
export const grpcMetrics: Registration<typeof PluginType.Metrics, { grpc_histogram: boolean }> = {
  type: PluginType.Metrics,
  id: 'grpc-prometheus',
  config: { grpc_histogram: flag({ default: false, doc: 'Count in the metrics also how long calls take, for each method.' }) },
  init: ({ config }) => ({ histogram: config.grpc_histogram }),
}

function wantsHistogram(metrics: unknown): boolean {
  return typeof metrics === 'object' && metrics !== null && 'histogram' in metrics && metrics.histogram === true
}

/** How services are served. */
export interface GrpcServerOptions {
  /** Path of the unix socket. */
  address: string
  /** Whom the socket belongs to. Default: the user of the process. */
  owner?: SocketOwner
  /** Largest accepted message. Default 16 MiB. */
  maxReceiveBytes?: number
  /** Largest sent message. Default 16 MiB. */
  maxSendBytes?: number
  /** Have the metrics tell how long calls took. Default false. */
  histogram?: boolean
  log: Logger
}

/** Serves services on a unix socket, which only its owner and its group may use. It counts calls. */
export function grpcServer(services: readonly BoundService[], options: GrpcServerOptions): Listener & MetricsSource {
  const {
    address,
    log,
    owner = processOwner,
    maxReceiveBytes = 16 * mebibyte,
    maxSendBytes = 16 * mebibyte,
    histogram = false,
  } = options
  const counters = createCallCounters({ histogram })
  const server = new Server({
    'grpc.max_receive_message_length': maxReceiveBytes,
    'grpc.max_send_message_length': maxSendBytes,
    // Health checks and idle clients stay connected for as long as they like.
    'grpc.max_concurrent_streams': 100_000,
    'grpc-node.flow_control_window': 4 * mebibyte,
  })
  for (const service of services) addService(server, service, { log, counters })
  let bound = false
  return {
    async start() {
      await prepareSocket(address, owner)
      await new Promise<void>((resolve, reject) => {
        server.bindAsync(`unix:${address}`, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve()))
      })
      bound = true
      await protectSocket(address, owner)
      log.info('serving...', { address })
    },
    async close() {
      server.forceShutdown()
      if (bound) await rm(address, { force: true })
    },
    prometheus: async () => counters.prometheus(),
  }
}
