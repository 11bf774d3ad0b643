import { rm } from 'node:fs/promises'
import type { Listener, MetricsSource, ServicePlugin } from '@containerd-ts/interface'
import { integer, type Logger, PluginType, type Registration, text } from '@containerd-ts/plugin'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { prepareSocket, protectSocket } from '../unix-socket.js'
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
  init: ({ config, log, getAll }) => createListener(config, log, getAll(PluginType.GRPC)),
}

function createListener(
  config: GrpcListenerConfig,
  log: Logger,
  plugins: ReadonlyMap<string, ServicePlugin>,
): Listener & MetricsSource {
  const counters = createCallCounters()
  const server = new Server({
    'grpc.max_receive_message_length': config.max_recv_message_size,
    'grpc.max_send_message_length': config.max_send_message_size,
    // Health checks and idle clients stay connected for as long as they like.
    'grpc.max_concurrent_streams': 100_000,
    'grpc-node.flow_control_window': 4 * mebibyte,
  })
  for (const plugin of plugins.values()) {
    for (const service of plugin.services) addService(server, service, { log, counters })
  }
  let bound = false
  return {
    async start() {
      await prepareSocket(config.address, config)
      await new Promise<void>((resolve, reject) => {
        server.bindAsync(`unix:${config.address}`, ServerCredentials.createInsecure(), (error) =>
          error ? reject(error) : resolve(),
        )
      })
      bound = true
      await protectSocket(config.address, config)
      log.info('serving...', { address: config.address })
    },
    async close() {
      server.forceShutdown()
      if (bound) await rm(config.address, { force: true })
    },
    prometheus: async () => counters.prometheus(),
  }
}
