import { FailedPreconditionError } from '@containerd-ts/interface'
import { readUpTo } from './chunk-reader.js'
import type { Connections } from './connections.js'
import { type Answer, exchange, type Headers, type RequestBody } from './exchange.js'
import { shownUrl } from './shown.js'

const maxRedirects = 10
const discardLimit = 64 * 1024
const discardMs = 2_000

/** A message as it went out or came in, for logs; secrets are left out. */
export interface RequestEvent {
  kind: 'request' | 'response'
  /** The head: first line and headers. Never an Authorization header. */
  text: string
}

/** What a request is sent with, whatever it is about. */
export interface Sending {
  connections: Connections
  dialTimeoutMs: number
  stallMs: number
  onRequest?: ((event: RequestEvent) => void) | undefined
}

/** A request of which redirects are followed. */
export interface Message {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT'
  url: URL
  headers: Headers
  /** Sent to the host of `url` alone: authorization and what the caller adds. */
  privateHeaders?: Headers | undefined
  body?: RequestBody | undefined
  /** `url` is another host's than that of the connections: it is not trusted from the start. */
  foreign?: boolean
  /** Allows a redirect from https to http, for bytes that are checked afterwards. */
  checked?: boolean
  signal: AbortSignal
}

/** An answer; `trusted` when it is from the host that was asked and not from one that it sent us to. */
export interface SentAnswer extends Answer {
  trusted: boolean
}

/**
 * Sends a request and follows redirects: ten at most, to http and https only, with a body only on the same host.
 *
 * @throws TransportFailure, FailedPreconditionError for redirects that are not followed, the signal's reason.
 */
export async function send(sending: Sending, message: Message): Promise<SentAnswer> {
  let { url } = message
  let trusted = message.foreign !== true
  for (let redirects = 0; ; redirects++) {
    const headers = { ...message.headers, ...(trusted && message.privateHeaders) }
    sending.onRequest?.({ kind: 'request', text: requestText(message.method, url, headers) })
    const answer = await exchange({
      method: message.method,
      url,
      headers,
      body: message.body,
      route: await sending.connections.route(url, trusted),
      dialTimeoutMs: sending.dialTimeoutMs,
      stallMs: sending.stallMs,
      signal: message.signal,
    })
    sending.onRequest?.({ kind: 'response', text: responseText(answer) })
    const location = isRedirect(answer.status) ? answer.headers.location : undefined
    if (location === undefined) return { ...answer, trusted }
    await discard(answer)
    const from = `redirect of ${message.method} ${shownUrl(url)}`
    if (redirects === maxRedirects) throw new FailedPreconditionError(`${from}: stopped after ${maxRedirects} redirects`)
    const next = resolveLocation(location, url, from)
    if (message.method !== 'GET' && message.method !== 'HEAD') {
      if (answer.status !== 307 && answer.status !== 308)
        throw new FailedPreconditionError(`${from}: status ${answer.status} loses the body`)
      if (!isSameHost(url, next)) throw new FailedPreconditionError(`${from}: not followed to another host, ${next.host}`)
    }
    if (message.checked !== true && url.protocol === 'https:' && next.protocol === 'http:') {
      throw new FailedPreconditionError(`${from}: not followed from https to http`)
    }
    // Once away, never again: the other host chose where at home we would be sent back to.
    trusted &&= isSameHost(message.url, next)
    url = next
  }
}

/** True for the same host and port, or the same host with encryption taken up. */
export function isSameHost(from: URL, to: URL): boolean {
  if (from.protocol === to.protocol) return from.host === to.host
  return from.hostname === to.hostname && from.protocol === 'http:' && from.port === '' && to.port === ''
}

/** A Location relative to what was asked. @throws FailedPreconditionError unless it is http or https. `from` goes before the text. */
export function resolveLocation(location: string, base: URL, from: string): URL {
  if (!URL.canParse(location, base.href)) throw new FailedPreconditionError(`${from}: malformed Location`)
  const url = new URL(location, base)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new FailedPreconditionError(`${from}: Location with the scheme ${JSON.stringify(url.protocol.slice(0, 32))}`)
  }
  return url
}

/** Reads what little is left of a body, so that the connection can be used again; otherwise closes it. */
export async function discard(answer: Answer): Promise<void> {
  const timer = setTimeout(answer.body.cancel, discardMs)
  try {
    await readUpTo(answer.body, discardLimit)
  } catch {
    // Nobody wanted it.
  } finally {
    clearTimeout(timer)
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308
}

const secretHeaders = new Set(['authorization', 'proxy-authorization', 'cookie', 'set-cookie'])

function requestText(method: string, url: URL, headers: Headers): string {
  return [`${method} ${shownUrl(url)} HTTP/1.1`, ...headerLines(headers)].join('\r\n')
}

function responseText({ status, statusText, headers, url }: Answer): string {
  const { location } = headers
  const shown = location !== undefined && URL.canParse(location, url.href) ? { location: shownUrl(new URL(location, url)) } : {}
  return [`HTTP/1.1 ${status} ${statusText}`, ...headerLines({ ...headers, ...shown })].join('\r\n')
}

function headerLines(headers: Readonly<Record<string, string | string[] | undefined>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => (secretHeaders.has(name) ? [] : `${name}: ${value}`))
}
