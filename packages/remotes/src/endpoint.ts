import { createAuthorizer } from './authorizer.js'
import { createConnections } from './connections.js'
import type { Credentials, CredentialsRequest } from './credentials.js'
import type { Headers, RequestBody } from './exchange.js'
import type { HostCapability, HostConfiguration } from './hosts.js'
import { requestError, statusError } from './registry-error.js'
import { withRetries } from './retries.js'
import { discard, type Message, type RequestEvent, type SentAnswer, send } from './send.js'
import { isNoTls, TransportFailure } from './transport-failure.js'

/** How long connecting may take, in milliseconds, where nothing else is configured. */
export const defaultDialTimeoutMs = 30_000

/** A request to a registry, by the path below `/v2`. */
export interface RegistryRequest {
  method: Message['method']
  /** Components, for instance `['library/busybox', 'manifests', 'latest']`, or a whole URL of the same host. */
  target: readonly string[] | URL
  query?: Readonly<Record<string, string>>
  headers?: Headers
  body?: RequestBody
  /** The host that stands in the reference; mirrors are told it. */
  namespace: string
  /** The image; goes before the text of errors. */
  reference: string
  scopes: readonly string[]
  /** There is no other host to be asked. */
  last: boolean
  /** The bytes are checked by whoever gets them. */
  checked?: boolean
  /** Not to be sent again when the server fails. */
  once?: boolean
  signal: AbortSignal
}

/** A host that is asked: the registry or a mirror of it. */
export interface Endpoint {
  can(...capabilities: readonly HostCapability[]): boolean
  /**
   * Any answer, also one that says no.
   *
   * @throws UnavailableError when there is none, the signal's reason, and what authorization throws.
   */
  request(request: RegistryRequest): Promise<SentAnswer>
  close(): void
}

/** What all endpoints of a resolver share. */
export interface EndpointOptions {
  headers: Headers
  userAgent: string
  stallMs: number
  credentials?: ((request: CredentialsRequest) => Promise<Credentials | undefined>) | undefined
  onRequest?: ((event: RequestEvent) => void) | undefined
}

/** Makes an endpoint; nothing is sent yet. */
export function createEndpoint(host: HostConfiguration, options: EndpointOptions): Endpoint {
  const { dialTimeoutMs = defaultDialTimeoutMs } = host
  const connections = createConnections(host.host, host.tls, dialTimeoutMs)
  const sending = {
    connections,
    dialTimeoutMs,
    stallMs: options.stallMs,
    onRequest: options.onRequest,
  }
  const { authorization: ownAuthorization, ...ownHeaders } = { ...options.headers, ...host.headers }
  const { 'user-agent': userAgent = options.userAgent, ...privateHeaders } = ownHeaders
  const common = { 'user-agent': userAgent }
  const authorizer = createAuthorizer({ sending, headers: common, privateHeaders, credentials: options.credentials })
  let scheme = host.tlsFirst === true ? 'https' : host.scheme
  let hasSpoken = false

  async function attempt(
    request: RegistryRequest,
    method: Message['method'],
    authorization: string | undefined,
  ): Promise<SentAnswer> {
    const shown = authorization ?? ownAuthorization
    const message = {
      method,
      headers: { ...common, ...request.headers },
      privateHeaders: { ...privateHeaders, ...(shown !== undefined && { authorization: shown }) },
      body: request.body,
      checked: request.checked === true,
      signal: request.signal,
    }
    const url = urlOf(scheme, host, request)
    try {
      const answer = await send(sending, { ...message, url })
      hasSpoken = true
      return answer
    } catch (error) {
      const mayBePlain = host.tlsFirst === true && url.protocol === 'https:' && !hasSpoken
      if (!mayBePlain || !(error instanceof TransportFailure) || !isNoTls(error)) throw error
      scheme = host.scheme
      return send(sending, { ...message, url: urlOf(scheme, host, request) })
    }
  }

  return {
    can: (...capabilities) => capabilities.every((capability) => host.capabilities.has(capability)),

    async request(request) {
      let { method } = request
      let challenged = false
      for (;;) {
        const authorization = await authorizer.authorization(request)
        let answer: SentAnswer
        try {
          const once = () => attempt(request, method, authorization)
          answer = await (request.once === true ? once() : withRetries(once, request))
        } catch (error) {
          throw requestError(request.reference, method, urlOf(scheme, host, request), error)
        }
        // Some registries answer HEAD for manifests only by saying that they do not.
        if (answer.status === 405 && method === 'HEAD') {
          method = 'GET'
          await discard(answer)
          continue
        }
        if (answer.status !== 401 || challenged || !answer.trusted) return answer
        challenged = true
        try {
          if (!(await authorizer.challenged(answer, authorization, request))) return answer
        } catch (error) {
          answer.body.cancel()
          throw error
        }
        await discard(answer)
      }
    },

    close: connections.close,
  }
}

/** The answer if it is a success. @throws the error that the answer stands for. */
export async function expectSuccess(request: Pick<RegistryRequest, 'reference'>, answer: SentAnswer): Promise<SentAnswer> {
  if (answer.status >= 200 && answer.status < 300) return answer
  throw await statusError(request.reference, answer)
}

function urlOf(scheme: 'http' | 'https', host: HostConfiguration, { target, query, namespace }: RegistryRequest): URL {
  const isMirror = namespace !== host.host && !(namespace === 'docker.io' && host.host === 'registry-1.docker.io')
  if (target instanceof URL) {
    const url = new URL(target)
    url.protocol = scheme
    // The rest of the query is kept byte by byte: it may be signed.
    if (isMirror && !url.searchParams.has('ns'))
      url.search += `${url.search === '' ? '?' : '&'}ns=${encodeURIComponent(namespace)}`
    return url
  }
  const path = target.flatMap((part) => part.split('/')).map(encodeURIComponent)
  const url = new URL(`${scheme}://${host.host}${host.path}/${path.join('/').replaceAll('%3A', ':')}`)
  for (const [key, value] of Object.entries(query ?? {})) url.searchParams.append(key, value)
  if (isMirror) url.searchParams.append('ns', namespace)
  return url
}
