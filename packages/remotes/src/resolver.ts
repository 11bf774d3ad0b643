import { InvalidArgumentError, validateDigest } from '@containerd-ts/interface'
import { createConnections } from './connections.js'
import type { Credentials, CredentialsRequest } from './credentials.js'
import { createEndpoint, defaultDialTimeoutMs as dialTimeoutMs, type Endpoint } from './endpoint.js'
import { fetchContent } from './fetch.js'
import { usableHeaders } from './headers.js'
import { hostConfigurations } from './hosts.js'
import { type PushOutcome, push } from './push.js'
import { usableReference } from './reference.js'
import type { Remote, RemoteDescriptor } from './remote.js'
import { resolve } from './resolve.js'
import type { RequestEvent } from './send.js'
import { orAborted } from './waiting.js'

export type { RemoteDescriptor } from './remote.js'
export type { RequestEvent } from './send.js'

const defaultStallMs = 60_000

/** How registries are found and asked. */
export interface ResolverOptions {
  /**
   * A directory as containerd's `config_path`: `<dir>/<host>/hosts.toml` or certificates, `<host>_<port>_` for a host with a port,
   * `_default`. Without it every host is asked itself.
   */
  hostDir?: string
  /** `http` or `https` for hosts that are not configured otherwise; https by default, on loopback http for ports other than 443. */
  defaultScheme?: string
  /** Added to every request to a registry or mirror, never to one to another host. */
  headers?: Readonly<Record<string, string>>
  /** Asked when a host wants authorization; undefined for none. */
  credentials?: (request: CredentialsRequest) => Promise<Credentials | undefined>
  /** `containerd-ts` by default. */
  userAgent?: string
  /** Told of every message, for logs. Without Authorization headers, cookies and what queries may have of signatures. */
  onRequest?: (event: RequestEvent) => void
  /** How long a host may keep one waiting for an answer or more bytes, in milliseconds; 60 000 by default. */
  stallTimeoutMs?: number
}

/** What {@link Resolver.fetch} is given besides what to fetch. */
export interface FetchOptions {
  /** Where to begin, in bytes; 0 by default. */
  offset?: number
  signal: AbortSignal
}

/** What {@link Resolver.push} is given besides what to push. */
export interface PushOptions {
  /** Gives the bytes from the start; called again for every try. */
  open: () => AsyncIterable<Uint8Array>
  signal: AbortSignal
  /** Repositories of the same host that may have the blob. */
  mountFrom?: readonly string[]
  /** Told of the bytes sent so far; begins again at every try. */
  onProgress?: (bytes: number) => void
}

/**
 * Names to descriptors, and bytes from and to registries. References are whole: `docker.io/library/busybox:latest`.
 *
 * Errors are those of `interface`: NotFound, Unauthenticated, PermissionDenied, Unavailable for trouble of connection or server,
 * DataLoss for wrong sizes, FailedPrecondition for what a server must not do, InvalidArgument for references; an aborted signal's reason.
 */
export interface Resolver {
  /** What a name stands for. Of the hosts that know what names mean, the first that has it answers. */
  resolve(reference: string, signal: AbortSignal): Promise<{ name: string; descriptor: RemoteDescriptor }>
  /**
   * Bytes of a manifest or blob, checked for nothing but the size. They have to be read to the end, left by `break`, or given up by
   * the signal; otherwise the connection stays.
   *
   * @throws OutOfRangeError when `offset` is beyond the size.
   */
  fetch(
    reference: string,
    descriptor: RemoteDescriptor & { urls?: readonly string[] },
    options: FetchOptions,
  ): Promise<AsyncIterable<Uint8Array>>
  /**
   * Uploads a blob or manifest unless it is there. A manifest goes to the tag of the reference, unless the reference has a digest as
   * well and it is another one: then, and without tag, it is kept by its digest only.
   */
  push(reference: string, descriptor: RemoteDescriptor, options: PushOptions): Promise<PushOutcome>
  /** Ends idle connections; those in use end with their requests. */
  close(): void
}

/**
 * Makes a resolver, which reads configuration and connects only when it is used.
 *
 * @throws InvalidArgumentError for options that make no sense.
 */
export function createResolver(options: ResolverOptions = {}): Resolver {
  const { hostDir, credentials, onRequest, userAgent = 'containerd-ts', stallTimeoutMs: stallMs = defaultStallMs } = options
  const defaultScheme = schemeOf(options.defaultScheme)
  const { accept, ...headers } = checkedHeaders({ 'user-agent': userAgent, ...options.headers })
  const endpointOptions = { headers, userAgent, stallMs, credentials, onRequest }
  const known = new Map<string, Promise<Endpoint[]>>()
  const connections = createConnections('other hosts', undefined, dialTimeoutMs)
  const elsewhere = { connections, dialTimeoutMs, stallMs, onRequest, userAgent }
  let closed = false

  function endpointsOf(host: string): Promise<Endpoint[]> {
    let endpoints = known.get(host)
    if (endpoints === undefined) {
      endpoints = hostConfigurations(host, { hostDir, defaultScheme }).then((hosts) => hosts.map(makeEndpoint))
      known.set(host, endpoints)
      // A file that was wrong may be put right.
      endpoints.catch(() => known.delete(host))
    }
    return endpoints
  }

  function makeEndpoint(host: Parameters<typeof createEndpoint>[0]): Endpoint {
    const endpoint = createEndpoint(host, endpointOptions)
    if (closed) endpoint.close()
    return endpoint
  }

  async function remoteOf(name: string, signal: AbortSignal): Promise<Remote> {
    signal.throwIfAborted()
    const reference = usableReference(name)
    return { name, reference, endpoints: await orAborted(endpointsOf(reference.host), signal), signal }
  }

  return {
    async resolve(name, signal) {
      return { name, descriptor: await resolve(await remoteOf(name, signal), accept) }
    },
    async fetch(name, descriptor, { offset = 0, signal }) {
      validateDigest(descriptor.digest)
      return fetchContent(await remoteOf(name, signal), elsewhere, descriptor, offset)
    },
    async push(name, descriptor, { open, signal, mountFrom = [], onProgress }) {
      const body = { sizeBytes: descriptor.sizeBytes, open, onProgress }
      return push(await remoteOf(name, signal), { descriptor, body, mountFrom })
    },
    close() {
      closed = true
      connections.close()
      for (const endpoints of known.values()) {
        endpoints.then(
          (list) => {
            for (const endpoint of list) endpoint.close()
          },
          () => {},
        )
      }
    },
  }
}

function schemeOf(scheme: string | undefined): 'http' | 'https' | undefined {
  if (scheme === undefined || scheme === '') return undefined
  if (scheme === 'http' || scheme === 'https') return scheme
  throw new InvalidArgumentError(`scheme ${JSON.stringify(scheme)}`)
}

function checkedHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  try {
    return usableHeaders(headers)
  } catch (error) {
    throw new InvalidArgumentError(`headers: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
}
