import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { parseChallenges } from '../src/challenge.js'
import type { Credentials, CredentialsRequest } from '../src/index.js'
import { bodyOf, digestOf, errorOf, giveManifest, layerType, never, once, resolver, serve, type TestServer } from './server.js'

const manifest = '{}'

interface Bearer {
  registry: TestServer
  tokens: TestServer
  /** Forms that were posted. */
  forms: URLSearchParams[]
  /** Makes every token of before invalid. */
  forget(): void
}

/** A registry that wants a token of the server beside it, good for the repository that is asked for. */
async function bearer(answer?: (request: IncomingMessage, response: ServerResponse, token: string) => unknown): Promise<Bearer> {
  const forms: URLSearchParams[] = []
  let generation = 0
  const tokens = await serve(async (request, response) => {
    const body = await bodyOf(request)
    const form = new URLSearchParams(body.toString())
    if (request.method === 'POST') forms.push(form)
    const query = new URL(`http://x${request.url}`).searchParams
    const scope = request.method === 'POST' ? (form.get('scope') ?? '') : query.getAll('scope').join(' ')
    const token = Buffer.from(`${generation}/${scope}`).toString('base64url')
    if (answer === undefined) response.end(JSON.stringify({ token }))
    else await answer(request, response, token)
  })
  const registry = await serve(async (request, response) => {
    await bodyOf(request)
    const repository = /^\/v2\/(.*)\/(?:manifests|blobs)\//.exec(request.url ?? '')?.[1]
    const wanted = request.method === 'HEAD' || request.method === 'GET' ? 'pull' : 'pull,push'
    const [made = '', scope = ''] = Buffer.from(request.headers.authorization?.slice(7) ?? '', 'base64url')
      .toString()
      .split('/', 1)
      .concat(
        Buffer.from(request.headers.authorization?.slice(7) ?? '', 'base64url')
          .toString()
          .replace(/^\d+\//, ''),
      )
    const good =
      made === String(generation) && scope.split(' ').some((one) => one.startsWith(`repository:${repository}:${wanted}`))
    if (good && request.method === 'POST') response.writeHead(201).end()
    else if (good && request.url?.includes('/blobs/')) response.writeHead(404).end()
    else if (good) giveManifest(response, manifest)
    else {
      const challenge = `Bearer realm="http://${tokens.host}/token?x=y",service="the \\"service\\"",scope="repository:${repository}:${wanted}"`
      response.writeHead(401, { 'www-authenticate': ['Negotiate', challenge, 'Basic realm="x"'] }).end()
    }
  })
  return { registry, tokens, forms, forget: () => generation++ }
}

function asking(credentials: Credentials | undefined, requests: CredentialsRequest[] = []) {
  return async (request: CredentialsRequest) => {
    requests.push(request)
    return credentials
  }
}

describe('bearer tokens', () => {
  it('are fetched without credentials and kept by what they are good for', async () => {
    const { registry, tokens, forget } = await bearer()
    const made = resolver({ headers: { 'x-secret': 'mine' } })
    for (const name of ['a/b:1', 'a/b:2', 'c:1', 'a/b:3']) await made.resolve(`${registry.host}/${name}`, never)
    const query = (repository: string) => `service=the+%22service%22&scope=repository%3A${repository}%3Apull`
    expect(tokens.lines()).toEqual([`GET /token?x=y&${query('a%2Fb')}`, `GET /token?x=y&${query('c')}`])
    expect(tokens.seen[0]?.headers['x-secret']).toBeUndefined()
    expect(registry.seen).toHaveLength(5)
    forget()
    await made.resolve(`${registry.host}/a/b:4`, never)
    expect(tokens.seen).toHaveLength(3)
  })

  it('are asked for once by requests at the same time', async () => {
    const { registry, tokens } = await bearer()
    const asked: CredentialsRequest[] = []
    const made = resolver({ credentials: asking({ type: 'credentials', username: 'me', secret: 'pw' }, asked) })
    await Promise.all(['1', '2', '3', '4'].map((tag) => made.resolve(`${registry.host}/a:${tag}`, never)))
    expect(tokens.seen).toHaveLength(1)
    expect(asked).toEqual([
      { host: registry.host, reference: `${registry.host}/a:1`, wwwAuthenticate: expect.arrayContaining(['Negotiate']) },
    ])
  })

  it('are fetched by another request when the one that wanted them is cancelled', async () => {
    let answerNow = () => {}
    const { registry, tokens } = await bearer((_, response, token) => {
      answerNow = () => response.end(JSON.stringify({ token }))
      if (tokens.seen.length > 1) answerNow()
    })
    const made = resolver()
    const abort = new AbortController()
    const first = errorOf(made.resolve(`${registry.host}/a:1`, abort.signal))
    await expect.poll(() => tokens.seen.length).toBe(1)
    const second = made.resolve(`${registry.host}/a:2`, never)
    await expect.poll(() => registry.seen.length).toBeGreaterThanOrEqual(1)
    abort.abort(new Error('enough'))
    expect((await first).message).toBe('enough')
    expect((await second).descriptor.digest).toBe(digestOf(manifest))
  })

  it('are not used beyond their time', async () => {
    const { registry, tokens } = await bearer((_, response, token) =>
      response.end(JSON.stringify({ access_token: token, expires_in: 0.2 })),
    )
    const made = resolver()
    for (let i = 0; i < 2; i++) await made.resolve(`${registry.host}/a:1`, never)
    expect(tokens.seen).toHaveLength(1)
    await new Promise((resolve) => setTimeout(resolve, 250))
    await made.resolve(`${registry.host}/a:1`, never)
    expect(tokens.seen).toHaveLength(2)
    expect(registry.seen.filter(({ headers }) => headers.authorization === undefined)).toHaveLength(1)
  })

  it.each<[Credentials, Record<string, string>, string]>([
    [
      { type: 'credentials', username: 'me', secret: 'p w' },
      { grant_type: 'password', username: 'me', password: 'p w' },
      'me:p w',
    ],
    [{ type: 'credentials', username: '', secret: 'idt' }, { grant_type: 'refresh_token', refresh_token: 'idt' }, ':idt'],
    [{ type: 'refresh', username: 'me', secret: 'rt' }, { grant_type: 'refresh_token', refresh_token: 'rt' }, ':rt'],
  ])('are fetched with %j by POST, or by GET where that is not offered', async (credentials, form, basic) => {
    let offered = true
    const { registry, tokens, forms } = await bearer((request, response, token) => {
      if (request.method === 'POST' && !offered) response.writeHead(404).end()
      else response.end(JSON.stringify({ token, access_token: token }))
    })
    await resolver({ credentials: asking(credentials) }).resolve(`${registry.host}/a:1`, never)
    expect(Object.fromEntries(forms[0] ?? [])).toEqual({
      service: 'the "service"',
      client_id: 'containerd-client',
      scope: 'repository:a:pull',
      ...form,
    })
    offered = false
    await resolver({ credentials: asking(credentials) }).resolve(`${registry.host}/a:1`, never)
    expect(tokens.seen.at(-1)).toMatchObject({
      method: 'GET',
      headers: { authorization: `Basic ${Buffer.from(basic).toString('base64')}` },
    })
  })

  it('are wanted for pushing, and for reading where it is mounted from', async () => {
    const { registry, tokens } = await bearer()
    const layer = { mediaType: layerType, digest: digestOf(''), sizeBytes: 0 }
    expect(await resolver().push(`${registry.host}/a:1`, layer, { open: () => once(''), signal: never, mountFrom: ['b'] })).toBe(
      'mounted',
    )
    const scopes = tokens.lines().map((line) => new URL(`http://x${line.split(' ')[1]}`).searchParams.getAll('scope'))
    expect(scopes[0]).toEqual(['repository:a:pull', 'repository:a:pull,push'])
    expect(scopes.at(-1)).toEqual(expect.arrayContaining(['repository:a:pull,push', 'repository:b:pull']))
  })

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => unknown, string, string]>([
    [
      'refused',
      (_, response) => response.writeHead(403).end('{"details":"no such user"}'),
      'PermissionDenied',
      '403 Forbidden: no such user',
    ],
    ['no JSON', (_, response) => response.end('hello'), 'FailedPrecondition', 'the answer is no JSON'],
    ['none', (_, response) => response.end('{"token":5}'), 'FailedPrecondition', 'no token in the answer'],
    [
      'a header of its own',
      (_, response) => response.end('{"token":"a\\r\\nx: y"}'),
      'FailedPrecondition',
      'characters that no header may have',
    ],
    [
      'too long',
      (_, response) => response.end(`{"token":"${'x'.repeat(2_000_000)}"}`),
      'FailedPrecondition',
      'the answer is too long',
    ],
  ])('that are %s are an error', async (_, answer, code, text) => {
    const { registry } = await bearer(answer)
    const error = await errorOf(resolver().resolve(`${registry.host}/a:1`, never))
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(`${registry.host}/a:1: `)
    expect(error.message).toContain(text)
  })

  it('that do not help are fetched but once', async () => {
    const { registry, tokens } = await bearer((_, response) => response.end('{"token":"useless"}'))
    const error = await errorOf(resolver().resolve(`${registry.host}/a:1`, never))
    expect(error).toMatchObject({ code: 'Unauthenticated' })
    expect(error.message).toMatch(
      /a:1: pull access denied, repository does not exist or may require authorization: .*401 Unauthorized/,
    )
    expect(tokens.seen).toHaveLength(1)
    expect(registry.seen).toHaveLength(2)
  })

  it('do not take credentials along a redirect of their server', async () => {
    const other = await serve((_, response) => void response.end('{"token":"x"}'))
    const { registry } = await bearer((request, response) => {
      response.writeHead(request.method === 'POST' ? 405 : 302, { location: `http://${other.host}/token` }).end()
    })
    await errorOf(
      resolver({ credentials: asking({ type: 'credentials', username: 'me', secret: 'pw' }) }).resolve(
        `${registry.host}/a:1`,
        never,
      ),
    )
    expect(other.seen).toHaveLength(1)
    expect(other.seen[0]?.headers.authorization).toBeUndefined()
  })

  it.each([
    ['Bearer service="x"', 'none is specified'],
    ['Bearer realm="token"', 'is no URL'],
    ['Bearer realm="file:///etc/passwd"', 'neither http nor https'],
  ])('need a realm that can be asked: %s', async (challenge, text) => {
    const registry = await serve((_, response) => void response.writeHead(401, { 'www-authenticate': challenge }).end())
    const error = await errorOf(resolver().resolve(`${registry.host}/a:1`, never))
    expect(error).toMatchObject({ code: 'FailedPrecondition', message: expect.stringContaining(text) })
  })
})

describe('other authorization', () => {
  async function wanting(authorization: string): Promise<TestServer> {
    return serve((request, response) => {
      if (request.headers.authorization === authorization) giveManifest(response, manifest)
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    })
  }

  it('is basic, or a header as it is given', async () => {
    const basic = `Basic ${Buffer.from('me:pw').toString('base64')}`
    const server = await wanting(basic)
    const shown: string[] = []
    const made = resolver({
      credentials: asking({ type: 'credentials', username: 'me', secret: 'pw' }),
      onRequest: ({ kind, text }) => shown.push(`${kind} ${text}`),
    })
    for (let i = 0; i < 2; i++) await made.resolve(`${server.host}/a:1`, never)
    expect(server.seen).toHaveLength(3)
    expect(shown).toHaveLength(6)
    expect(shown[0]).toMatch(/^request HEAD http:\/\/.*\/v2\/a\/manifests\/1 HTTP\/1.1\r\nuser-agent: containerd-ts/)
    expect(shown.join('\n')).not.toContain(basic)
    await resolver({ credentials: asking({ type: 'header', secret: basic }) }).resolve(`${server.host}/a:1`, never)
  })

  it('is asked for again when it has expired or is refused', async () => {
    const asked: CredentialsRequest[] = []
    const server = await wanting('Mine 1')
    const given = [{ expiresAt: new Date(Date.now() + 100) }, {}, {}]
    const made = resolver({
      credentials: async (request) => {
        asked.push(request)
        return { type: 'header', secret: 'Mine 1', ...given.shift() }
      },
    })
    for (let i = 0; i < 2; i++) await made.resolve(`${server.host}/a:1`, never)
    expect(asked).toHaveLength(1)
    await new Promise((resolve) => setTimeout(resolve, 120))
    await made.resolve(`${server.host}/a:1`, never)
    expect(asked).toHaveLength(2)
  })

  it('that is missing or wrong is an error, as is one that cannot be got', async () => {
    const server = await wanting('Basic x')
    await expect(resolver({ credentials: asking(undefined) }).resolve(`${server.host}/a:1`, never)).rejects.toMatchObject({
      code: 'Unauthenticated',
      message: expect.stringContaining('no basic auth credentials'),
    })
    for (const options of [{}, { credentials: asking({ type: 'credentials', username: 'me', secret: 'pw' }) } as const]) {
      await expect(resolver(options).resolve(`${server.host}/a:1`, never)).rejects.toMatchObject({
        code: 'Unauthenticated',
        message: expect.stringContaining('401'),
      })
    }
    const failure = new Error('the keyring is locked')
    const failing = resolver({ credentials: () => Promise.reject(failure) }).resolve(`${server.host}/a:1`, never)
    await expect(failing).rejects.toBe(failure)
  })

  it('waits for credentials no longer than the signal', async () => {
    const server = await wanting('Basic x')
    const abort = new AbortController()
    let hangs = true
    const made = resolver({ credentials: async () => (hangs ? new Promise(() => {}) : { type: 'header', secret: 'Basic x' }) })
    const resolving = made.resolve(`${server.host}/a:1`, abort.signal)
    resolving.catch(() => {})
    await expect.poll(() => server.seen.length).toBe(1)
    hangs = false
    const next = made.resolve(`${server.host}/a:1`, never)
    abort.abort(new Error('enough'))
    await expect(resolving).rejects.toThrow('enough')
    expect((await next).descriptor.digest).toBe(digestOf(manifest))
    made.close()
    await expect.poll(server.openSockets).toBe(0)
  })
})

describe('parseChallenges', () => {
  it('takes what is well-formed', () => {
    expect(
      parseChallenges(['basic', 'Digest a=b', 'BEARER  Realm = "a\\"b" , scope="x,y z",error=bad ,broken', '', '=,"']),
    ).toEqual([
      { scheme: 'bearer', parameters: { realm: 'a"b', scope: 'x,y z', error: 'bad' } },
      { scheme: 'basic', parameters: {} },
    ])
    const begin = performance.now()
    parseChallenges([`Bearer ${'a="\\'.repeat(100_000)}`, `Bearer ${' '.repeat(100_000)}`, `Bearer a=${'!'.repeat(100_000)}`])
    expect(performance.now() - begin).toBeLessThan(500)
  })
})
