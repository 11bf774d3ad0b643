import { ContainerdError, FailedPreconditionError, quote } from '@containerd-ts/interface'
import { type Challenge, parseChallenges } from './challenge.js'
import type { Credentials, CredentialsRequest } from './credentials.js'
import type { Answer, Headers } from './exchange.js'
import { isSameHost, type Sending } from './send.js'
import { fetchToken, type Token } from './token.js'
import { orAborted } from './waiting.js'

/** Who wants to do what. */
export interface AuthorizationRequest {
  /** The image, for which credentials are asked. */
  reference: string
  /** What a token must be good for: `repository:<name>:pull`. */
  scopes: readonly string[]
  signal: AbortSignal
}

/** The authorization of one endpoint: learns from its challenges and remembers tokens by what they are good for. */
export interface Authorizer {
  /** The value of the Authorization header; undefined as long as the endpoint has not asked for any. */
  authorization(request: AuthorizationRequest): Promise<string | undefined>
  /**
   * Takes in an answer with status 401 to a request that was sent with `used`. True when the request is worth another try.
   *
   * @throws Unauthenticated when there are no credentials for what the endpoint wants.
   */
  challenged(answer: Answer, used: string | undefined, request: AuthorizationRequest): Promise<boolean>
}

/** What an authorizer works with. */
export interface AuthorizerOptions {
  sending: Sending
  /** For token servers: the user agent. */
  headers: Headers
  /** For a token server on the same host. */
  privateHeaders: Headers
  credentials?: ((request: CredentialsRequest) => Promise<Credentials | undefined>) | undefined
}

type State =
  | { kind: 'header'; value: string; expiresAt: number | undefined }
  | {
      kind: 'bearer'
      realm: URL
      foreign: boolean
      service: string
      credentials: Credentials | undefined
      tokens: Map<string, Pending>
    }

interface Pending {
  token: Promise<Token>
  /** Of the request that fetches it. */
  signal: AbortSignal
  expiresAt: number | undefined
}

/** Makes the authorizer of one endpoint. */
export function createAuthorizer({ sending, headers, privateHeaders, credentials }: AuthorizerOptions): Authorizer {
  let state: State | undefined
  // What challenges wanted beyond what is usual, by what was asked for.
  const extraScopes = new Map<string, readonly string[]>()

  async function authorization(request: AuthorizationRequest): Promise<string | undefined> {
    if (state === undefined) return undefined
    if (isPast(state.kind === 'header' ? state.expiresAt : state.credentials?.expiresAt?.getTime())) {
      state = undefined
      return undefined
    }
    if (state.kind === 'header') return state.value
    return `Bearer ${await bearerToken(state, request)}`
  }

  async function bearerToken(bearer: State & { kind: 'bearer' }, request: AuthorizationRequest): Promise<string> {
    const own = keyOf(request.scopes)
    const scopes = [...new Set([...request.scopes, ...(extraScopes.get(own) ?? [])])].sort()
    const key = keyOf(scopes)
    for (;;) {
      let pending = bearer.tokens.get(key)
      if (pending === undefined || isPast(pending.expiresAt)) {
        pending = fetchFor(bearer, scopes, request)
        bearer.tokens.set(key, pending)
      }
      try {
        return (await orAborted(pending.token, request.signal)).value
      } catch (error) {
        if (bearer.tokens.get(key) === pending) bearer.tokens.delete(key)
        // Another request fetched it and was cancelled: not this one's concern.
        if (!pending.signal.aborted || request.signal.aborted) throw error
      }
    }
  }

  function fetchFor(bearer: State & { kind: 'bearer' }, scopes: readonly string[], request: AuthorizationRequest): Pending {
    const { realm, foreign, service } = bearer
    const about = `${request.reference}: failed to fetch ${bearer.credentials?.secret ? 'oauth' : 'anonymous'} token`
    const common = { headers, privateHeaders, about, signal: request.signal }
    const pending: Pending = {
      token: fetchToken(sending, { realm, foreign, service, scopes, credentials: bearer.credentials, ...common }),
      signal: request.signal,
      expiresAt: undefined,
    }
    pending.token.then(
      ({ expiresAt }) => {
        pending.expiresAt = expiresAt
      },
      () => {},
    )
    return pending
  }

  // One at a time, so that several requests at the beginning ask only once for credentials.
  let learning: Promise<unknown> = Promise.resolve()

  function challenged(answer: Answer, used: string | undefined, request: AuthorizationRequest): Promise<boolean> {
    // What hangs in a callback holds the others up only as long as its own request lasts.
    const learnt = learning.then(() => orAborted(learn(answer, used, request), request.signal))
    learning = learnt.catch(() => {})
    return orAborted(learnt, request.signal)
  }

  async function learn(answer: Answer, used: string | undefined, request: AuthorizationRequest): Promise<boolean> {
    request.signal.throwIfAborted()
    const [challenge] = parseChallenges(answer.wwwAuthenticate)
    if (challenge === undefined) return false
    const wanted = challenge.scheme === 'bearer' ? (challenge.parameters['scope'] ?? '').split(' ') : []
    const extra = wanted.filter((scope) => scope !== '' && !request.scopes.includes(scope))
    if (extra.length > 0) extraScopes.set(keyOf(request.scopes), extra)
    // Meanwhile another request may have learnt more than this one knew.
    if (state !== undefined && (used === undefined || used !== (await authorization(request)))) return true
    state = undefined
    const { host } = answer.url
    const got = await credentials?.({ host, reference: request.reference, wwwAuthenticate: answer.wwwAuthenticate })
    if (got?.type === 'header') {
      if (!/^[\x20-\x7e]+$/.test(got.secret ?? ''))
        throw new FailedPreconditionError(`${request.reference}: unusable header of credentials`)
      state = { kind: 'header', value: got.secret ?? '', expiresAt: got.expiresAt?.getTime() }
    } else if (challenge.scheme === 'bearer') {
      state = { kind: 'bearer', ...realmOf(challenge, answer.url, request.reference, got), credentials: got, tokens: new Map() }
    } else {
      if (credentials === undefined) return false
      if (!got?.username || !got.secret) {
        throw new ContainerdError(
          'Unauthenticated',
          `${request.reference}: ${host}: no basic auth credentials: authorization failed`,
        )
      }
      const value = `Basic ${Buffer.from(`${got.username}:${got.secret}`).toString('base64')}`
      state = { kind: 'header', value, expiresAt: got.expiresAt?.getTime() }
    }
    return true
  }

  return { authorization, challenged }
}

function realmOf({ parameters }: Challenge, registry: URL, reference: string, credentials: Credentials | undefined) {
  const { realm, service = '' } = parameters
  const unusable = (why: string) => new FailedPreconditionError(`${reference}: token realm of ${registry.host}: ${why}`)
  if (realm === undefined) throw unusable('none is specified')
  if (!URL.canParse(realm)) throw unusable(`${quote(realm.slice(0, 256))} is no URL`)
  const url = new URL(realm)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw unusable('neither http nor https')
  if (credentials?.secret && registry.protocol === 'https:' && url.protocol === 'http:') {
    throw unusable('credentials are not sent to an http realm for an https registry')
  }
  return { realm: url, foreign: !isSameHost(registry, url), service }
}

function keyOf(scopes: readonly string[]): string {
  return [...scopes].sort().join(' ')
}

function isPast(time: number | undefined): boolean {
  return time !== undefined && time <= Date.now()
}
