import { FailedPreconditionError } from '@containerd-ts/interface'
import { readUpTo } from './chunk-reader.js'
import type { Credentials } from './credentials.js'
import type { Headers } from './exchange.js'
import { isRecord } from './record.js'
import { requestError, statusError } from './registry-error.js'
import { withRetries } from './retries.js'
import { discard, type Message, type Sending, type SentAnswer, send } from './send.js'

const clientId = 'containerd-client'
const maxTokenBody = 1024 * 1024
// A token that expires while it is under way is of no use.
const marginMs = 5_000

/** Whom to ask for what. */
export interface TokenRequest {
  realm: URL
  /** The realm is a host of its own, not the registry's. */
  foreign: boolean
  service: string
  scopes: readonly string[]
  credentials: Credentials | undefined
  headers: Headers
  /** Sent to the realm only when it is the registry itself. */
  privateHeaders: Headers
  /** Goes before the text of errors. */
  about: string
  signal: AbortSignal
}

/** A bearer token. */
export interface Token {
  value: string
  /** In the time of `Date.now()`; undefined when the server does not say. */
  expiresAt: number | undefined
}

/**
 * Asks a token server. With a secret by POST, as OAuth wants it; a server that does not offer that, and one that wants no secret, by GET.
 *
 * @throws Unauthenticated and other classes by status, UnavailableError, FailedPreconditionError for an answer without a token.
 */
export async function fetchToken(sending: Sending, request: TokenRequest): Promise<Token> {
  const { credentials } = request
  const secret = credentials?.secret ?? ''
  if (secret === '') return get(sending, request, undefined)
  const username = credentials?.type === 'refresh' ? '' : (credentials?.username ?? '')
  const answer = await ask(sending, request, postMessage(request, username, secret))
  const { status } = answer
  if (status === 400 || status === 401 || status === 404 || (status === 405 && username !== '')) {
    await discard(answer)
    return get(sending, request, `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`)
  }
  return tokenOf(request, answer)
}

type Parts = Pick<Message, 'method' | 'url' | 'headers' | 'privateHeaders' | 'body'>

function postMessage({ service, scopes, realm }: TokenRequest, username: string, secret: string): Parts {
  const form = new URLSearchParams({ service, client_id: clientId })
  if (scopes.length > 0) form.set('scope', scopes.join(' '))
  if (username === '') {
    form.set('grant_type', 'refresh_token')
    form.set('refresh_token', secret)
  } else {
    form.set('grant_type', 'password')
    form.set('username', username)
    form.set('password', secret)
  }
  const bytes = Buffer.from(form.toString())
  const open = async function* () {
    yield bytes
  }
  const headers = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' }
  return { method: 'POST', url: realm, headers, body: { sizeBytes: bytes.length, open } }
}

async function get(sending: Sending, request: TokenRequest, authorization: string | undefined): Promise<Token> {
  const url = new URL(request.realm)
  if (request.service !== '') url.searchParams.append('service', request.service)
  for (const scope of request.scopes) url.searchParams.append('scope', scope)
  // The realm itself may see it, but not where it redirects to.
  const answer = await ask(sending, request, {
    method: 'GET',
    url,
    headers: {},
    ...(authorization && { privateHeaders: { authorization } }),
  })
  return tokenOf(request, answer)
}

async function ask(sending: Sending, request: TokenRequest, message: Parts): Promise<SentAnswer> {
  const { signal, foreign } = request
  const headers = { ...request.headers, ...message.headers }
  const privateHeaders = { ...(!foreign && request.privateHeaders), ...message.privateHeaders }
  const connections = foreign
    ? { ...sending.connections, route: (url: URL) => sending.connections.route(url, false) }
    : sending.connections
  try {
    return await withRetries(() => send({ ...sending, connections }, { ...message, headers, privateHeaders, signal }), {
      last: true,
      signal,
    })
  } catch (error) {
    throw requestError(request.about, message.method, message.url, error)
  }
}

async function tokenOf(request: TokenRequest, answer: SentAnswer): Promise<Token> {
  if (answer.status < 200 || answer.status > 299) throw await statusError(request.about, answer)
  const unusable = (why: string) =>
    new FailedPreconditionError(`${request.about}: authorization server ${request.realm.host}: ${why}`)
  let body: unknown
  try {
    const { bytes, complete } = await readUpTo(answer.body, maxTokenBody)
    if (!complete) throw unusable('the answer is too long')
    body = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) throw unusable('the answer is no JSON')
    throw requestError(request.about, answer.method, answer.url, error)
  }
  const value = isRecord(body)
    ? [body['access_token'], body['token']].find((one) => typeof one === 'string' && one !== '')
    : undefined
  if (!isRecord(body) || typeof value !== 'string') throw unusable('no token in the answer')
  if (!/^[\x21-\x7e]+$/.test(value)) throw unusable('the token has characters that no header may have')
  const seconds = body['expires_in']
  if (typeof seconds !== 'number' || !(seconds > 0)) return { value, expiresAt: undefined }
  const lifeMs = Math.min(seconds * 1000, 2 ** 50)
  return { value, expiresAt: Date.now() + lifeMs - Math.min(marginMs, lifeMs / 10) }
}
