import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http'
import type { Agent as HttpsAgent } from 'node:https'
import { BlockList, isIP, Socket } from 'node:net'
import { FailedPreconditionError } from '@containerd-ts/interface'
import { isLoopback } from './loopback.js'
import { shownText } from './shown.js'
import { timedOut } from './transport-failure.js'

/** A proxy by which hosts are reached. */
export interface HttpProxy {
  url: URL
  /** The Proxy-Authorization header that the user and password of its URL make. */
  authorization: string | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name for a URL, in capitals or not; none for loopback.
 *
 * @throws FailedPreconditionError for a variable that is no http URL; proxies of other kinds are not spoken to.
 */
export function proxyFor(url: URL, environment: Environment = process.env): HttpProxy | undefined {
  const get = (name: string) => environment[name] || environment[name.toLowerCase()] || ''
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  const text = get(name)
  if (text === '' || isExcepted(url, get('NO_PROXY'))) return undefined
  const whole = text.includes('://') ? text : `http://${text}`
  const proxy = URL.canParse(whole) ? new URL(whole) : undefined
  // The value may have a password.
  if (proxy === undefined || proxy.protocol !== 'http:') throw new FailedPreconditionError(`${name} is no URL of an http proxy`)
  const { username, password } = proxy
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { url: proxy, authorization: user === ':' ? undefined : `Basic ${Buffer.from(user).toString('base64')}` }
}

function isExcepted(url: URL, exceptions: string): boolean {
  const host = plainHost(url)
  if (isLoopback(host)) return true
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return exceptions.split(',').some((entry) => isMeant(entry.trim().toLowerCase(), host, port))
}

// `*`, an address or a range of them, a domain, which stands for all below it, or with a dot before it for only those.
function isMeant(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  if (entry.includes('/')) return isWithin(host, entry)
  const [, name = '', wanted = port] = isIP(entry) === 6 ? [entry, entry] : (/^\[?(.*?)\]?(?::(\d+))?$/.exec(entry) ?? [])
  if (name === '' || wanted !== port) return false
  const domain = name.replace(/^\*\./, '.')
  return host === domain || host.endsWith(domain.startsWith('.') ? domain : `.${domain}`)
}

function isWithin(host: string, range: string): boolean {
  const family = isIP(host)
  const [address = '', bits = ''] = range.split('/', 2)
  if (family === 0 || isIP(address) !== family || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128))
    return false
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const list = new BlockList()
  list.addSubnet(address, Number(bits), type)
  return list.check(host, type)
}

/** Has an agent make its connections through tunnels of a proxy, to those hosts for which there is one. */
export function tunnelled(agent: HttpsAgent, timeoutMs: number): HttpsAgent {
  const direct = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const { host = '', port } = options
    const target = `${host?.includes(':') ? `[${host}]` : host}:${port ?? 443}`
    const proxy = proxyFor(new URL(`https://${target}`))
    if (proxy === undefined) return direct(options, callback)
    const request = openTunnel(proxy, target)
    const timer = setTimeout(() => request.destroy(timedOut('the tunnel of the proxy', timeoutMs)), timeoutMs)
    request.once('error', (error) => {
      clearTimeout(timer)
      callback?.(error, new Socket())
    })
    request.once('connect', (response: IncomingMessage, socket: Socket) => {
      clearTimeout(timer)
      if (response.statusCode !== 200) {
        socket.destroy()
        callback?.(
          new Error(`the proxy ${proxy.url.host} answered ${response.statusCode} ${shownText(response.statusMessage ?? '')}`),
          socket,
        )
        return
      }
      const through = { ...options, socket }
      const secured = direct(through)
      if (secured) callback?.(null, secured)
    })
    request.end()
    return undefined
  }
  return agent
}

function openTunnel({ url, authorization }: HttpProxy, target: string): ClientRequest {
  return requestHttp({
    method: 'CONNECT',
    hostname: plainHost(url),
    port: url.port,
    path: target,
    headers: { host: target, ...(authorization !== undefined && { 'proxy-authorization': authorization }) },
    agent: false,
  })
}

/** A URL's host without port and brackets, as sockets want it. */
export function plainHost(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}
