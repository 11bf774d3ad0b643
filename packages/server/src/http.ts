import { rm } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { isAbsolute } from 'node:path'
import { isDebugSource, isMetricsSource, type Listener } from '@containerd-ts/interface'
import {
  type DaemonVersion,
  type InitContext,
  integer,
  type Logger,
  PluginType,
  type Registration,
  SkipPlugin,
  text,
} from '@containerd-ts/plugin'
import { ConfigFileError } from './config/toml.js'
import { prepareSocket, processOwner, protectSocket, type SocketOwner } from './unix-socket.js'

interface AddressConfig {
  address: string
}

/** Serves the figures of all plugins at `/v1/metrics` in the Prometheus text format. */
export const metricsListener: Registration<typeof PluginType.Server, AddressConfig> = {
  type: PluginType.Server,
  id: 'metrics',
  after: ['*'],
  config: { address: text({ default: '', doc: 'host:port of the metrics listener; empty for none.' }) },
  init(ic) {
    if (ic.config.address === '') throw new SkipPlugin('no metrics address configured')
    return httpListener(ic.config.address, ic.log, metrics(ic))
  },
}

/** Serves the state of the process, and how much its plugins hold, at `/debug/vars`, on a unix socket or a TCP address. */
export const debugListener: Registration<typeof PluginType.Server, AddressConfig & SocketOwner> = {
  type: PluginType.Server,
  id: 'debug',
  after: ['*'],
  config: {
    address: text({ default: '', doc: 'Path of a unix socket, or host:port; empty for none.' }),
    uid: integer({ default: process.geteuid?.() ?? 0, doc: 'Owner of the socket; by default the user of the daemon.' }),
    gid: integer({ default: process.getegid?.() ?? 0, doc: 'Group of the socket.' }),
  },
  init(ic) {
    if (ic.config.address === '') throw new SkipPlugin('no debug address configured')
    return httpListener(ic.config.address, ic.log, debug(ic), ic.config)
  },
}

function metrics(ic: InitContext<AddressConfig>): RequestListener {
  return (request, response) => {
    if (request.url !== '/v1/metrics' && request.url !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    // Asked anew each time: plugins may have been loaded after this one.
    const sources = ic.plugins().flatMap(({ instance }) => (isMetricsSource(instance) ? [instance.prometheus()] : []))
    Promise.all([buildInfo(ic.daemon), ...sources]).then(
      (texts) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(texts.join('')),
      (error: unknown) => {
        ic.log.error('cannot collect metrics', { error })
        response.writeHead(500).end()
      },
    )
  }
}

function buildInfo({ version, revision }: DaemonVersion): string {
  return `# HELP containerd_build_info_total The version of the daemon and the commit it was built from; always 1.
# TYPE containerd_build_info_total counter
containerd_build_info_total{revision=${JSON.stringify(revision)},version=${JSON.stringify(version)}} 1
`
}

function debug(ic: InitContext): RequestListener {
  return (request, response) => {
    if (request.url === '/debug/vars') {
      const held = ic
        .plugins()
        .flatMap(({ type, id, instance }) => (isDebugSource(instance) ? [[`${type}.${id}`, instance.debugVars()]] : []))
      const vars = {
        cmdline: process.argv,
        pid: process.pid,
        uptime: process.uptime(),
        memory: process.memoryUsage(),
        resources: process.getActiveResourcesInfo(),
        plugins: Object.fromEntries(held),
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(vars))
    } else if (request.url?.startsWith('/debug/pprof') === true) {
      response
        .writeHead(501, { 'content-type': 'text/plain' })
        .end('profiles in the pprof format are made by Go programs only; see /debug/vars\n')
    } else {
      response.writeHead(404).end()
    }
  }
}

function httpListener(address: string, log: Logger, listener: RequestListener, owner: SocketOwner = processOwner): Listener {
  const server = createServer(listener)
  const unix = isAbsolute(address)
  return {
    async start() {
      if (unix) await prepareSocket(address, owner)
      await listen(server, unix ? { path: address } : tcpAddress(address))
      if (unix) await protectSocket(address, owner)
      log.info('serving...', { address })
    },
    async close() {
      server.close()
      server.closeAllConnections()
      if (unix) await rm(address, { force: true })
    },
  }
}

function tcpAddress(address: string): { host: string; port: number } {
  const match = /^(.*):(\d+)$/.exec(address)
  if (match === null) throw new ConfigFileError(`${address}: expected host:port`)
  return { host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port: Number(match[2]) }
}

function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
