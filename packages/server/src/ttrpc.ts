import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { type Context, type Listener, type ServicePlugin, toStatus } from '@containerd-ts/interface'
import { peerCredentials } from '@containerd-ts/linux'
import { integer, type Logger, PluginType, type Registration, text } from '@containerd-ts/plugin'
import { serveTtrpc, type TtrpcServer } from '@containerd-ts/ttrpc'
import { prepareSocket, protectSocket } from './unix-socket.js'

interface TtrpcListenerConfig {
  address: string
  uid: number
  gid: number
}

/** Serves every plugin of type `io.containerd.ttrpc.v1` on a unix socket: where shims send their events. */
export const ttrpcListener: Registration<typeof PluginType.Server, TtrpcListenerConfig> = {
  type: PluginType.Server,
  id: 'ttrpc',
  after: ['*'],
  config: {
    address: text({ default: '/run/containerd/containerd.sock.ttrpc', doc: 'Path of the unix socket of the ttrpc API.' }),
    uid: integer({ default: process.geteuid?.() ?? 0, doc: 'Owner of the socket; by default the user of the daemon.' }),
    gid: integer({ default: process.getegid?.() ?? 0, doc: 'Group of the socket.' }),
  },
  init: ({ config, log, getAll }) => createListener(config, log, getAll(PluginType.TTRPC)),
}

function createListener(config: TtrpcListenerConfig, log: Logger, plugins: ReadonlyMap<string, ServicePlugin>): Listener {
  let serving: TtrpcServer | undefined
  return {
    async start() {
      await prepareSocket(config.address, config)
      const server = createServer()
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(config.address, () => {
          server.off('error', reject)
          resolve()
        })
      })
      await protectSocket(config.address, config)
      serving = await serveTtrpc<Context>(server, {
        services: [...plugins.values()].flatMap((plugin) => plugin.services),
        toStatus: (error) => toStatus(error),
        context: (metadata, signal) => ({ namespace: metadata.get('containerd-namespace-ttrpc')?.[0] ?? '', signal, log }),
        // Only processes of the daemon's own user: everybody else has the gRPC socket.
        verifyPeer: (socket) => {
          const { uid, gid } = peerCredentials(socket)
          const same = uid === process.getuid?.() && gid === process.getgid?.()
          if (!same) log.warn('refused a ttrpc connection of another user', { uid, gid })
          return same
        },
      })
      log.info('serving...', { address: config.address })
    },
    async close() {
      if (serving === undefined) return
      serving.destroy()
      await rm(config.address, { force: true })
    },
  }
}
