import { hostPlatform } from '@containerd-ts/interface'
import { type AnyRegistration, type InitContext, PluginType } from '@containerd-ts/plugin'
import {
  connectProxy,
  createRemoteContentStore,
  createRemoteDiffer,
  createRemoteSnapshotter,
  type ProxyConnection,
} from '@containerd-ts/proxy-client'
import type { ProxyPlugin } from './config/daemon-config.js'

/** Plugins that stand for those of other processes, as `[proxy_plugins]` names them. One connection serves all of one address. */
export function proxyRegistrations(proxies: readonly ProxyPlugin[]): AnyRegistration[] {
  const connections = new Map<string, { connection: ProxyConnection; users: number }>()
  const connect = (address: string): ProxyConnection => {
    const shared = connections.get(address) ?? { connection: connectProxy(address), users: 0 }
    shared.users++
    connections.set(address, shared)
    return shared.connection
  }
  const release = async (address: string): Promise<void> => {
    const shared = connections.get(address)
    if (shared === undefined || --shared.users > 0) return
    connections.delete(address)
    shared.connection.close()
  }

  return proxies.map((proxy): AnyRegistration => {
    const { name: id, type, address } = proxy
    const init = (ic: InitContext) => {
      describe(proxy, ic)
      const connection = connect(address)
      const close = () => release(address)
      if (type === PluginType.Snapshotter) return { ...createRemoteSnapshotter(connection, id), close }
      return { ...(type === PluginType.Content ? createRemoteContentStore(connection) : createRemoteDiffer(connection)), close }
    }
    return { type, id, init }
  })
}

function describe({ platform, exports, capabilities, address }: ProxyPlugin, { meta }: InitContext): void {
  const [os, architecture, variant] = platform.split('/')
  if (os !== undefined && architecture !== undefined)
    meta.platforms.push({ os, architecture, ...(variant !== undefined && { variant }) })
  else meta.platforms.push(hostPlatform())
  Object.assign(meta.exports, exports, { address })
  meta.capabilities.push(...capabilities)
}
