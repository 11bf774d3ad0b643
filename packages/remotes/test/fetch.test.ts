import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { collect, digestOf, errorOf, layerType, manifestType, never, resolver, serve } from './server.js'

const bytes = randomBytes(300_000)
const layer = { mediaType: layerType, digest: digestOf(bytes), sizeBytes: bytes.length }

/** The first byte that a request wants. */
function startOf(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
}

function giveRange(request: IncomingMessage, response: ServerResponse, whole: Buffer = bytes, upTo = whole.length): void {
  const start = startOf(request)
  response.writeHead(start > 0 ? 206 : 200, {
    'content-length': whole.length - start,
    ...(start > 0 && { 'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}` }),
  })
  response.write(whole.subarray(start, Math.max(upTo, start)), () => {
    if (upTo < whole.length) response.destroy()
    else response.end()
  })
}

describe('fetch', () => {
  it('gives blobs and manifests, also from an offset', async () => {
    const server = await serve((request, response) => giveRange(request, response))
    const made = resolver()
    expect((await collect(await made.fetch(`${server.host}/a/b:1`, layer, { signal: never }))).equals(bytes)).toBe(true)
    expect(
      (await collect(await made.fetch(`${server.host}/a/b:1`, layer, { offset: 299_990, signal: never }))).equals(
        bytes.subarray(299_990),
      ),
    ).toBe(true)
    expect(await collect(await made.fetch(`${server.host}/a/b:1`, layer, { offset: 300_000, signal: never }))).toHaveLength(0)
    await collect(await made.fetch(`${server.host}/a/b:1`, { ...layer, mediaType: manifestType }, { signal: never }))
    expect(server.lines()).toEqual([
      `GET /v2/a/b/blobs/${layer.digest}`,
      `GET /v2/a/b/blobs/${layer.digest}`,
      `GET /v2/a/b/manifests/${layer.digest}`,
    ])
    expect(server.openSockets()).toBe(1)
    await expect(made.fetch(`${server.host}/a/b:1`, layer, { offset: 300_001, signal: never })).rejects.toMatchObject({
      code: 'OutOfRange',
    })
  })

  it('takes a broken body up again where it broke', async () => {
    const server = await serve((request, response) =>
      giveRange(request, response, bytes, startOf(request) < 200_000 ? startOf(request) + 100_000 : bytes.length),
    )
    expect((await collect(await resolver().fetch(`${server.host}/a:1`, layer, { signal: never }))).equals(bytes)).toBe(true)
    expect(server.seen.length).toBeGreaterThan(2)
  })

  it('gives up when nothing more comes', async () => {
    const server = await serve((request, response) => giveRange(request, response, bytes, 1000))
    const error = await errorOf(collect(await resolver().fetch(`${server.host}/a:1`, layer, { signal: never })))
    expect(error).toMatchObject({ code: 'Unavailable', message: expect.stringContaining('the connection broke at') })
    expect(server.seen.length).toBe(4)
  })

  it('skips what a server gives that knows no ranges', async () => {
    const server = await serve((_, response) => void response.writeHead(200, { 'content-length': bytes.length }).end(bytes))
    expect(
      (await collect(await resolver().fetch(`${server.host}/a:1`, layer, { offset: 123_456, signal: never }))).equals(
        bytes.subarray(123_456),
      ),
    ).toBe(true)
  })

  it('undoes an encoding of the transfer', async () => {
    const server = await serve((_, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(bytes)))
    expect(
      (await collect(await resolver().fetch(`${server.host}/a:1`, layer, { offset: 10, signal: never }))).equals(
        bytes.subarray(10),
      ),
    ).toBe(true)
    const odd = await serve((_, response) => void response.writeHead(200, { 'content-encoding': 'br' }).end(bytes))
    await expect(resolver().fetch(`${odd.host}/a:1`, layer, { signal: never })).rejects.toMatchObject({ code: 'Unimplemented' })
  })

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => unknown]>([
    ['a wrong Content-Length', (_, response) => response.writeHead(200, { 'content-length': 5 }).end('12345')],
    ['too much', (_, response) => response.writeHead(200).end(Buffer.alloc(bytes.length + 1))],
    ['too little', (_, response) => response.writeHead(200).end('12345')],
    ['another range', (_, response) => response.writeHead(206, { 'content-range': `bytes 5-9/${bytes.length}` }).end('12345')],
    ['a range of something else', (_, response) => response.writeHead(206, { 'content-range': 'bytes 0-4/5' }).end('12345')],
  ])('refuses %s', async (_, handler) => {
    const server = await serve((request, response) => void handler(request, response))
    const made = resolver()
    const fetching = made.fetch(`${server.host}/a:1`, layer, { signal: never }).then(collect)
    await expect(fetching).rejects.toMatchObject({ code: 'DataLoss', message: expect.stringContaining(layer.digest) })
    made.close()
    await expect.poll(server.openSockets).toBe(0)
  })

  it('follows to another host without what is only for the first, and not back with it', async () => {
    const store = await serve((request, response) => {
      if (request.url === '/back') response.writeHead(307, { location: `http://${registry.host}/final` }).end()
      else giveRange(request, response)
    })
    const registry = await serve((request, response) => {
      if (request.url === '/final') giveRange(request, response)
      else if (request.url?.startsWith('/here'))
        response.writeHead(302, { location: `http://user:pw@${store.host}${request.url.slice(5)}` }).end()
      else
        response
          .writeHead(307, { location: request.url?.includes('/back/') ? '/here/back' : '/here/data?X-Signature=secret' })
          .end()
    })
    const shown: string[] = []
    const made = resolver({
      headers: { 'x-secret': 'mine', authorization: 'Basic b3ducw==' },
      onRequest: ({ text }) => shown.push(text),
    })
    expect(
      (await collect(await made.fetch(`${registry.host}/a:1`, layer, { offset: 7, signal: never }))).equals(bytes.subarray(7)),
    ).toBe(true)
    expect(registry.seen.map(({ headers }) => [headers['x-secret'], headers.authorization])).toEqual([
      ['mine', 'Basic b3ducw=='],
      ['mine', 'Basic b3ducw=='],
    ])
    expect(store.seen[0]).toMatchObject({ url: '/data?X-Signature=secret', headers: { range: 'bytes=7-' } })
    expect((await collect(await made.fetch(`${registry.host}/back/a:1`, layer, { signal: never }))).equals(bytes)).toBe(true)
    expect(registry.seen.at(-1)).toMatchObject({ url: '/final' })
    for (const { headers } of [...store.seen, registry.seen.at(-1)].flatMap((seen) => seen ?? [])) {
      expect(headers['x-secret']).toBeUndefined()
      expect(headers.authorization).toBeUndefined()
    }
    expect(shown.join('\n')).not.toMatch(/secret&|Signature=secret|b3ducw|authorization/i)
    expect(shown.join('\n')).toContain('X-Signature=REDACTED')
  })

  it.each([
    ['endless', '/again', 'stopped after 10 redirects'],
    ['to a file', 'file:///etc/passwd', 'Location with the scheme "file:"'],
    ['to nowhere', 'http://[', 'malformed Location'],
  ])('does not follow redirects %s', async (_, location, text) => {
    const server = await serve((__, response) => void response.writeHead(302, { location }).end())
    const error = await errorOf(resolver().fetch(`${server.host}/a:1`, layer, { signal: never }))
    expect(error).toMatchObject({ code: 'FailedPrecondition', message: expect.stringContaining(text) })
    expect(server.seen.length).toBeLessThanOrEqual(11)
  })

  it('asks other places of a foreign layer first and the registry then', async () => {
    const registry = await serve((request, response) => giveRange(request, response))
    const missing = await serve((_, response) => void response.writeHead(404).end())
    const having = await serve((request, response) => giveRange(request, response))
    const made = resolver({ headers: { 'x-secret': 'mine' } })
    const urls = ['file:///etc/passwd', 'nonsense', `http://${missing.host}/layer`, `http://${having.host}/layer?a=b`]
    expect((await collect(await made.fetch(`${registry.host}/a:1`, { ...layer, urls }, { signal: never }))).equals(bytes)).toBe(
      true,
    )
    expect(having.lines()).toEqual(['GET /layer?a=b'])
    expect(having.seen[0]?.headers['x-secret']).toBeUndefined()
    expect(registry.seen).toEqual([])
    expect(
      (await collect(await made.fetch(`${registry.host}/a:1`, { ...layer, urls: urls.slice(0, 3) }, { signal: never }))).equals(
        bytes,
      ),
    ).toBe(true)
    expect(registry.seen).toHaveLength(1)
  })

  it('takes no more than it is asked for', async () => {
    const size = 256 * 1024 * 1024
    let sent = 0
    const server = await serve(async (_, response) => {
      response.writeHead(200, { 'content-length': size })
      const chunk = Buffer.alloc(1 << 20)
      while (sent < size && !response.destroyed) {
        sent += chunk.length
        if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
      }
    })
    const source = await resolver().fetch(`${server.host}/a:1`, { ...layer, sizeBytes: size }, { signal: never })
    for await (const chunk of source) {
      expect(chunk.length).toBeGreaterThan(0)
      await new Promise((resolve) => setTimeout(resolve, 300))
      expect(sent).toBeLessThan(size / 4)
      break
    }
    await expect.poll(server.openSockets).toBe(0)
  })

  it('ends with the signal or the reader, whenever that is', async () => {
    const server = await serve(
      (_, response) => void response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 1000)),
    )
    const made = resolver()
    const abort = new AbortController()
    const reading = collect(await made.fetch(`${server.host}/a:1`, layer, { signal: abort.signal }))
    reading.catch(() => {})
    const unread = await made.fetch(`${server.host}/a:1`, layer, { signal: abort.signal })
    const left = (await made.fetch(`${server.host}/a:1`, layer, { signal: never }))[Symbol.asyncIterator]()
    expect(server.openSockets()).toBe(3)
    await left.return?.()
    await expect.poll(server.openSockets).toBe(2)
    abort.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    await expect(collect(unread)).rejects.toThrow('enough')
    await expect.poll(server.openSockets).toBe(0)
    expect(server.seen).toHaveLength(3)
  })

  it('takes a stalled body up again', async () => {
    const server = await serve((request, response) => {
      if (server.seen.length > 1) giveRange(request, response)
      else response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 1000))
    })
    expect(
      (await collect(await resolver({ stallTimeoutMs: 100 }).fetch(`${server.host}/a:1`, layer, { signal: never }))).equals(
        bytes,
      ),
    ).toBe(true)
    await expect.poll(server.openSockets).toBe(1)
  })

  it('says that nobody has it', async () => {
    const server = await serve((_, response) => void response.writeHead(404).end())
    const error = await errorOf(resolver().fetch(`${server.host}/a:1`, layer, { signal: never }))
    expect(error).toMatchObject({ code: 'NotFound', message: expect.stringContaining(`${server.host}/a:1: ${layer.digest}: `) })
  })
})
