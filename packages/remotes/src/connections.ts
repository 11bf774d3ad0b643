import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { createSecureContext, rootCertificates } from 'node:tls'
import { FailedPreconditionError } from '@containerd-ts/interface'
import type { HostTls } from './hosts.js'
import { type HttpProxy, proxyFor, tunnelled } from './proxy.js'

const idleMs = 30_000
const maxIdle = 10
// Where distributions keep the certificates that an administrator trusts; Node has only its own.
const systemBundles = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem']

/** How a URL is reached. */
export interface Route {
  agent: HttpAgent
  /** To be asked in place of the host, for http; https goes through a tunnel that the agent makes. */
  proxy: HttpProxy | undefined
}

/** The connections of one endpoint, kept for a while when they are idle. */
export interface Connections {
  /** For a URL of the endpoint itself, where `own`, or of another host, which is not shown the client's certificate. */
  route(url: URL, own: boolean): Promise<Route>
  /** Ends idle connections, the others as soon as they become idle. */
  close(): void
}

/** `tls`: what is asked of a host and shown to it beyond the usual. `dialTimeoutMs`: how long a proxy may take to connect. */
export function createConnections(host: string, tls: HostTls | undefined, dialTimeoutMs: number): Connections {
  const agents: HttpAgent[] = []
  let closed = false
  const keep = (agent: HttpAgent) => {
    if (closed) agent.maxFreeSockets = 0
    agents.push(agent)
    return agent
  }
  const common = { keepAlive: true, timeout: idleMs, maxFreeSockets: maxIdle }
  let plain: HttpAgent | undefined
  let own: Promise<HttpAgent> | undefined
  let foreign: Promise<HttpAgent> | undefined

  async function secureAgent(shown: Pick<HostTls, 'cert' | 'key'>): Promise<HttpAgent> {
    const secureContext = await contextOf(host, { ...shown, ca: tls?.ca })
    const agent = new HttpsAgent({ ...common, secureContext, rejectUnauthorized: tls?.skipVerify !== true })
    return keep(tunnelled(agent, dialTimeoutMs))
  }

  function secureAgentOf(isOwn: boolean): Promise<HttpAgent> {
    if (isOwn) {
      own ??= secureAgent({ cert: tls?.cert, key: tls?.key })
      return own
    }
    foreign ??= secureAgent({})
    return foreign
  }

  return {
    async route(url, isOwn) {
      if (url.protocol === 'https:') return { agent: await secureAgentOf(isOwn), proxy: undefined }
      plain ??= keep(new HttpAgent(common))
      return { agent: plain, proxy: proxyFor(url) }
    },
    close() {
      closed = true
      for (const agent of agents) {
        agent.maxFreeSockets = 0
        for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
      }
    },
  }
}

// One for all that have no certificates of their own: it holds more than a hundred roots.
let usual: Promise<ReturnType<typeof createSecureContext>> | undefined

function contextOf(host: string, { ca, cert, key }: Omit<HostTls, 'skipVerify'>) {
  if (ca === undefined && cert === undefined) {
    usual ??= roots().then((bundle) => createSecureContext({ ca: bundle }))
    return usual
  }
  return roots().then((bundle) => {
    try {
      // OpenSSL passes over an authority that is no certificate.
      for (const text of ca ?? []) new X509Certificate(text)
      return createSecureContext({
        ca: [...bundle, ...(ca ?? [])],
        ...(cert && { cert: [...cert] }),
        ...(key && { key: [...key] }),
      })
    } catch (error) {
      throw new FailedPreconditionError(`certificates for ${host}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      })
    }
  })
}

async function roots(): Promise<string[]> {
  const named = process.env['SSL_CERT_FILE']
  const extra = (await firstOf([process.env['NODE_EXTRA_CA_CERTS'] ?? ''])) ?? []
  return [...((await firstOf(named === undefined ? systemBundles : [named])) ?? rootCertificates), ...extra]
}

async function firstOf(paths: readonly string[]): Promise<string[] | undefined> {
  for (const path of paths) {
    try {
      return [await readFile(path, 'utf8')]
    } catch {
      // Not there: another one is.
    }
  }
  return undefined
}
