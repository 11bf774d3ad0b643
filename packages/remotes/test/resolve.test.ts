import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createResolver } from '../src/index.js'
import { digestOf, errorOf, giveManifest, manifestType, never, resolver, serve } from './server.js'

const manifest = '{"schemaVersion":2}'
const descriptor = { mediaType: manifestType, digest: digestOf(manifest), sizeBytes: manifest.length }

/** A directory of hosts.toml files. */
async function hostDir(files: Readonly<Record<string, string>>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'remotes-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  for (const [host, text] of Object.entries(files)) {
    await mkdir(join(dir, host))
    await writeFile(join(dir, host, 'hosts.toml'), text)
  }
  return dir
}

describe('resolve', () => {
  it('takes digest, size and type of a HEAD', async () => {
    const server = await serve((_, response) => giveManifest(response, manifest))
    const name = `${server.host}/some/image:latest`
    expect(await resolver().resolve(name, never)).toEqual({ name, descriptor })
    expect(server.lines()).toEqual(['HEAD /v2/some/image/manifests/latest'])
    expect(server.seen[0]?.headers.accept).toContain('application/vnd.oci.image.index.v1+json')
  })

  it('reads the manifest of a registry that does not say its digest', async () => {
    const server = await serve(
      (_, response) => void response.writeHead(200, { 'content-type': `${manifestType}; charset=utf-8` }).end(manifest),
    )
    expect((await resolver().resolve(`${server.host}/image:1`, never)).descriptor).toEqual(descriptor)
    expect(server.lines()).toEqual(['HEAD /v2/image/manifests/1', 'GET /v2/image/manifests/1'])
  })

  it('asks by GET where HEAD is not allowed', async () => {
    const server = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end()
      else giveManifest(response, manifest)
    })
    expect((await resolver().resolve(`${server.host}/image:1`, never)).descriptor).toEqual(descriptor)
    expect(server.lines()).toEqual(['HEAD /v2/image/manifests/1', 'GET /v2/image/manifests/1'])
  })

  it('finds a blob by digest when no host has a manifest of it', async () => {
    const server = await serve((request, response) => {
      if (request.url?.includes('/blobs/'))
        response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': 7 }).end()
      else response.writeHead(404).end()
    })
    const digest = digestOf('blob')
    const resolved = await resolver().resolve(`${server.host}/image@${digest}`, never)
    expect(resolved.descriptor).toEqual({ mediaType: 'application/octet-stream', digest, sizeBytes: 7 })
  })

  it('does not take trouble with manifests for a blob', async () => {
    const server = await serve((request, response) => void response.writeHead(request.url?.includes('/blobs/') ? 200 : 418).end())
    await expect(resolver().resolve(`${server.host}/image@${digestOf('')}`, never)).rejects.toThrow(/418/)
    expect(server.lines().filter((line) => line.includes('/blobs/'))).toEqual([])
  })

  it('asks mirrors in order, names the registry to them and passes over refusals', async () => {
    const gone = await serve(() => {})
    gone.server.close()
    const denying = await serve((_, response) => void response.writeHead(403).end())
    const empty = await serve((_, response) => void response.writeHead(404).end())
    const failing = await serve((_, response) => void response.writeHead(503).end())
    const having = await serve((_, response) => giveManifest(response, manifest))
    const unasked = await serve((_, response) => giveManifest(response, manifest))
    const dir = await hostDir({
      'registry.example': [
        'server = "https://registry.example"',
        `[host."http://${unasked.host}"]\ncapabilities = ["pull"]`,
        ...[gone, denying, empty, failing].map(({ host }) => `[host."http://${host}"]\ncapabilities = ["pull", "resolve"]`),
        `[host."http://${having.host}/deep"]`,
        `[host."http://${having.host}/deep".header]\nx-mirror = ["a", "b"]`,
      ].join('\n'),
    })
    const resolved = await resolver({ hostDir: dir }).resolve('registry.example/library/image:1', never)
    expect(resolved.descriptor).toEqual(descriptor)
    expect(having.lines()).toEqual(['HEAD /deep/v2/library/image/manifests/1?ns=registry.example'])
    expect(having.seen[0]?.headers['x-mirror']).toBe('a, b')
    expect(unasked.seen).toEqual([])
    // A server that fails is not waited for while there are others.
    expect(failing.seen).toHaveLength(1)
    expect(denying.lines().map((line) => line.split(' ')[0])).toEqual(['HEAD', 'GET'])
  })

  it('reports what was said, not what could not be reached', async () => {
    const gone = await serve(() => {})
    gone.server.close()
    const empty = await serve((_, response) => void response.writeHead(404).end())
    const dir = await hostDir({ 'registry.example': `server = "http://${empty.host}"\n[host."http://${gone.host}"]` })
    const error = await errorOf(resolver({ hostDir: dir }).resolve('registry.example/image:1', never))
    expect(error).toMatchObject({ code: 'NotFound', message: 'registry.example/image:1: not found' })
    await expect(resolver().resolve(`${gone.host}/image:1`, never)).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringMatching(/image:1: HEAD request to .* failed: .*ECONNREFUSED/),
    })
  })

  it('names the file that is wrong', async () => {
    const dir = await hostDir({ 'registry.example': '[host."https://a"]\ncapabilities = ["fly"]', _default: 'server = 5' })
    for (const [name, why] of [
      ['registry.example/image:1', 'unknown capability "fly"'],
      ['other.example/image:1', '"server" has the wrong type'],
    ] as const) {
      const error = await errorOf(resolver({ hostDir: dir }).resolve(name, never))
      expect(error).toMatchObject({ code: 'FailedPrecondition', message: expect.stringContaining('hosts.toml') })
      expect(error.message).toContain(why)
    }
  })

  it('waits for a busy registry', async () => {
    const statuses = [429, 503, 408, 200]
    const server = await serve((_, response) => {
      const status = statuses.shift()
      if (status === 200) giveManifest(response, manifest)
      else response.writeHead(status ?? 500, status === 429 ? { 'retry-after': '0' } : {}).end()
    })
    expect((await resolver().resolve(`${server.host}/image:1`, never)).descriptor).toEqual(descriptor)
  })

  it('takes a connection that the server has closed meanwhile for no trouble', async () => {
    const server = await serve((request, response) => {
      if (server.seen.length === 2) request.socket.destroy()
      else giveManifest(response, manifest)
    })
    const made = resolver()
    for (let i = 0; i < 2; i++) expect((await made.resolve(`${server.host}/image:1`, never)).descriptor).toEqual(descriptor)
  })

  it("tells the server's own message in bounded length", async () => {
    const message = 'no such thing\r\nat all'
    const bodies = [
      JSON.stringify({ errors: [{ code: 'DENIED', message }] }),
      'x'.repeat(10_000_000),
      '<html>',
      JSON.stringify({ errors: 'none' }),
      '\u001b[31mred',
    ]
    const server = await serve((request, response) => {
      const body = request.method === 'HEAD' ? '' : (bodies.shift() ?? '')
      response.writeHead(403, { 'content-type': body === '<html>' ? 'text/html' : 'text/plain' }).end(body)
    })
    const texts: string[] = []
    while (bodies.length > 0) {
      const error = await errorOf(resolver().resolve(`${server.host}/image:1`, never))
      expect(error).toMatchObject({ code: 'PermissionDenied' })
      texts.push(error.message.replaceAll(server.host, 'host'))
    }
    const status = 'host/image:1: unexpected status from GET request to http://host/v2/image/manifests/1: 403 Forbidden'
    expect(texts[0]).toBe(`${status}: DENIED: no such thing at all: permission denied`)
    expect(texts[1]?.length).toBeLessThan(1000)
    expect(texts.slice(2)).toEqual([
      `${status}: permission denied`,
      `${status}: permission denied`,
      `${status}: [31mred: permission denied`,
    ])
  })

  it('refuses manifests without measure', async () => {
    const endless = await serve(async (request, response) => {
      response.writeHead(200, { 'content-type': manifestType })
      if (request.method === 'HEAD') return void response.end()
      const chunk = Buffer.alloc(1 << 20)
      while (!response.destroyed) {
        response.write(chunk)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    await expect(resolver().resolve(`${endless.host}/image:1`, never)).rejects.toMatchObject({ code: 'ResourceExhausted' })
    await expect.poll(endless.openSockets).toBeLessThanOrEqual(1)
    const huge = await serve(
      (_, response) => void response.writeHead(200, { 'docker-content-digest': digestOf(''), 'content-length': 1 << 30 }).end(),
    )
    await expect(resolver().resolve(`${huge.host}/image:1`, never)).rejects.toMatchObject({ code: 'ResourceExhausted' })
  })

  it('refuses a digest that is none and references that are not whole', async () => {
    const server = await serve(
      (_, response) => void response.writeHead(200, { 'docker-content-digest': 'sha256:1', 'content-length': 3 }).end(),
    )
    await expect(resolver().resolve(`${server.host}/image:1`, never)).rejects.toMatchObject({ code: 'DataLoss' })
    for (const name of [`${server.host}/image`, server.host, `${server.host}/image@sha256:1`, `${server.host}/image:../../x`]) {
      await expect(resolver().resolve(name, never)).rejects.toMatchObject({ code: 'InvalidArgument' })
    }
    expect(server.seen).toHaveLength(1)
  })

  it('ends with the signal, also while it waits, and leaves no connection', async () => {
    for (const handler of [
      () => {},
      (_: unknown, response: import('node:http').ServerResponse) => void response.writeHead(429, { 'retry-after': '5' }).end(),
    ]) {
      const server = await serve(handler)
      const made = resolver()
      const abort = new AbortController()
      const resolving = made.resolve(`${server.host}/image:1`, abort.signal)
      resolving.catch(() => {})
      await expect.poll(() => server.seen.length).toBe(1)
      const reason = new Error('enough')
      abort.abort(reason)
      await expect(resolving).rejects.toBe(reason)
      made.close()
      await expect.poll(server.openSockets).toBe(0)
    }
  })

  it('gives a silent registry up', async () => {
    const server = await serve(() => {})
    const resolving = resolver({ stallTimeoutMs: 50 }).resolve(`${server.host}/image:1`, never)
    await expect(resolving).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringContaining('took longer than 50 ms'),
    })
    await expect.poll(server.openSockets).toBe(0)
  })

  it('keeps connections until it is closed', async () => {
    const server = await serve((_, response) => giveManifest(response, manifest))
    const made = resolver()
    for (let i = 0; i < 3; i++) await made.resolve(`${server.host}/image:1`, never)
    expect(server.openSockets()).toBe(1)
    made.close()
    await expect.poll(server.openSockets).toBe(0)
    await made.resolve(`${server.host}/image:1`, never)
    await expect.poll(server.openSockets).toBe(0)
  })

  it('sends headers of the caller but none that steer the connection, and refuses impossible ones', async () => {
    const server = await serve((_, response) => giveManifest(response, manifest))
    await resolver({
      headers: { 'X-Mine': 'yes', Host: 'elsewhere', 'Transfer-Encoding': 'chunked', 'User-Agent': 'mine' },
    }).resolve(`${server.host}/image:1`, never)
    expect(server.seen[0]?.headers).toMatchObject({ 'x-mine': 'yes', host: server.host, 'user-agent': 'mine' })
    expect(server.seen[0]?.headers['transfer-encoding']).toBeUndefined()
    expect(() => createResolver({ headers: { x: 'a\r\nb: c' } })).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    expect(() => createResolver({ defaultScheme: 'file' })).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  })
})
