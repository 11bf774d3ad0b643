import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { bodyOf, digestOf, errorOf, layerType, manifestType, never, once, resolver, serve, type TestServer } from './server.js'

const bytes = randomBytes(300_000)
const layer = { mediaType: layerType, digest: digestOf(bytes), sizeBytes: bytes.length }
const manifest = '{"schemaVersion":2}'
const manifestDescriptor = { mediaType: manifestType, digest: digestOf(manifest), sizeBytes: manifest.length }

const options = { open: () => once(bytes), signal: never }

/** A registry that has nothing; `put` answers the upload to the place that `location` gives. */
async function emptyRegistry(
  location: (server: TestServer) => string,
  put: (request: IncomingMessage, response: ServerResponse) => unknown = async (request, response) => {
    await bodyOf(request)
    response.writeHead(201).end()
  },
): Promise<TestServer> {
  const server = await serve(async (request, response) => {
    if (request.method === 'HEAD') response.writeHead(404).end()
    else if (request.method === 'POST') response.writeHead(202, { location: location(server) }).end()
    else await put(request, response)
  })
  return server
}

describe('push', () => {
  it.each([
    ['/upload/1?_state=a%2Bb%3D&x', (_: TestServer) => '/upload/1?_state=a%2Bb%3D&x', '/upload/1?_state=a%2Bb%3D&x&digest='],
    ['a whole URL', ({ host }: TestServer) => `http://${host}/upload/1`, '/upload/1?digest='],
    ['https behind a proxy', ({ host }: TestServer) => `https://${host}/upload/1`, '/upload/1?digest='],
    ['a relative one', (_: TestServer) => '1', '/v2/a/b/blobs/uploads/1?digest='],
  ])('uploads to the Location it is given: %s', async (_, location, path) => {
    let body: Buffer = Buffer.alloc(0)
    const server = await emptyRegistry(location, async (request, response) => {
      body = await bodyOf(request)
      response.writeHead(201, { 'docker-content-digest': layer.digest }).end()
    })
    const progress: number[] = []
    expect(await resolver().push(`${server.host}/a/b:1`, layer, { ...options, onProgress: (sent) => progress.push(sent) })).toBe(
      'pushed',
    )
    expect(body.equals(bytes)).toBe(true)
    expect(progress).toEqual([bytes.length])
    expect(server.lines()).toEqual([
      `HEAD /v2/a/b/blobs/${layer.digest}`,
      'POST /v2/a/b/blobs/uploads/',
      `PUT ${path}${encodeURIComponent(layer.digest)}`,
    ])
    expect(server.seen[2]?.headers).toMatchObject({ 'content-length': '300000', 'content-type': 'application/octet-stream' })
  })

  it.each([
    ['another host', 'http://127.0.0.2:1/upload', 'sent to another host, 127.0.0.2:1'],
    ['a file', 'file:///etc/passwd', 'Location with the scheme "file:"'],
    ['nowhere', '', 'no Location'],
  ])('does not upload to %s', async (_, location, text) => {
    const server = await emptyRegistry(() => location)
    const error = await errorOf(resolver().push(`${server.host}/a:1`, layer, options))
    expect(error).toMatchObject({ code: 'FailedPrecondition', message: expect.stringContaining(text) })
  })

  it('sends a body where a redirect on the same host leads, and nowhere else', async () => {
    const other = await emptyRegistry(() => '/upload')
    const server = await emptyRegistry(
      () => '/upload',
      async (request, response) => {
        request.resume()
        if (request.url?.startsWith('/there')) {
          expect((await bodyOf(request)).equals(bytes)).toBe(true)
          response.writeHead(201).end()
        } else response.writeHead(307, { location: server.seen.length < 5 ? '/there' : `http://${other.host}/there` }).end()
      },
    )
    expect(await resolver().push(`${server.host}/a:1`, layer, options)).toBe('pushed')
    const error = await errorOf(resolver().push(`${server.host}/a:1`, layer, options))
    expect(error).toMatchObject({ code: 'FailedPrecondition', message: expect.stringContaining('not followed to another host') })
    expect(other.seen).toEqual([])
  })

  it('puts manifests by tag, or by digest when the tag is meant for another one', async () => {
    const server = await emptyRegistry(() => '')
    const made = resolver()
    const given = { open: () => once(manifest), signal: never }
    await made.push(`${server.host}/a:1`, manifestDescriptor, given)
    await made.push(`${server.host}/a:1@${manifestDescriptor.digest}`, manifestDescriptor, given)
    await made.push(`${server.host}/a:1@${digestOf('index')}`, manifestDescriptor, given)
    await made.push(`${server.host}/a`, manifestDescriptor, given)
    expect(server.lines().filter((line) => line.startsWith('PUT'))).toEqual([
      'PUT /v2/a/manifests/1',
      'PUT /v2/a/manifests/1',
      `PUT /v2/a/manifests/${manifestDescriptor.digest}`,
      `PUT /v2/a/manifests/${manifestDescriptor.digest}`,
    ])
    expect(server.seen[1]?.headers).toMatchObject({ 'content-type': manifestType, 'content-length': String(manifest.length) })
  })

  it('sends nothing that is there, and a manifest whose tag is another one', async () => {
    let digest = manifestDescriptor.digest
    const server = await serve(async (request, response) => {
      await bodyOf(request)
      response.writeHead(request.method === 'HEAD' ? 200 : 201, { 'docker-content-digest': digest }).end()
    })
    const given = { open: () => once(manifest), signal: never }
    expect(await resolver().push(`${server.host}/a:1`, manifestDescriptor, given)).toBe('exists')
    expect(await resolver().push(`${server.host}/a:1`, layer, options)).toBe('exists')
    digest = digestOf('another')
    await expect(resolver().push(`${server.host}/a:1`, manifestDescriptor, given)).rejects.toMatchObject({
      code: 'DataLoss',
      message: expect.stringContaining(`got digest ${digest}`),
    })
    expect(server.lines().filter((line) => line.startsWith('PUT'))).toHaveLength(1)
  })

  it('begins anew when the server fails or the connection breaks', async () => {
    let tries = 0
    const server = await emptyRegistry(
      () => `/upload/${tries}`,
      async (request, response) => {
        tries++
        if (tries === 1) request.socket.destroy()
        else if (tries === 2) response.writeHead(500).end()
        else {
          expect((await bodyOf(request)).equals(bytes)).toBe(true)
          response.writeHead(201).end()
        }
      },
    )
    expect(await resolver().push(`${server.host}/a:1`, layer, options)).toBe('pushed')
    expect(
      server
        .lines()
        .filter((line) => line.startsWith('PUT'))
        .map((line) => line.split('?')[0]),
    ).toEqual(['PUT /upload/0', 'PUT /upload/1', 'PUT /upload/2'])
  })

  it('does not send the rest to a server that has said no', async () => {
    const server = await emptyRegistry(
      () => '/upload',
      (_, response) => void response.writeHead(413).end('too much'),
    )
    let given = 0
    const source = async function* () {
      try {
        for (; given < 1000; given++) yield Buffer.alloc(1 << 20)
      } finally {
        given += 10_000
      }
    }
    const big = { ...layer, sizeBytes: 1000 << 20 }
    const error = await errorOf(resolver().push(`${server.host}/a:1`, big, { open: source, signal: never }))
    expect(error.message).toContain('413 Payload Too Large: too much')
    expect(given).toBeGreaterThanOrEqual(10_000)
    expect(given).toBeLessThan(10_500)
    await expect.poll(server.openSockets).toBeLessThanOrEqual(1)
  })

  it('reports what the source of the bytes throws, and a size that is not as said, and does not try again', async () => {
    const server = await emptyRegistry(() => '/upload')
    const failure = Object.assign(new Error('the disk is gone'), { code: 'Unavailable' })
    const broken = async function* () {
      yield bytes.subarray(0, 1000)
      throw failure
    }
    await expect(resolver().push(`${server.host}/a:1`, layer, { open: broken, signal: never })).rejects.toBe(failure)
    for (const wrong of [bytes.subarray(1), Buffer.concat([bytes, bytes])]) {
      await expect(
        resolver().push(`${server.host}/a:1`, layer, { open: () => once(wrong), signal: never }),
      ).rejects.toMatchObject({
        code: 'DataLoss',
      })
    }
    expect(server.lines().filter((line) => line.startsWith('PUT')).length).toBeLessThanOrEqual(3)
    await expect.poll(server.openSockets).toBeLessThanOrEqual(3)
  })

  it('gives no more than the server takes, and ends with the signal', async () => {
    let held: IncomingMessage | undefined
    const server = await emptyRegistry(
      () => '/upload',
      (request) => {
        held = request
      },
    )
    let given = 0
    let closed = false
    const source = async function* () {
      try {
        for (; given < 1000; given++) yield Buffer.alloc(1 << 20)
      } finally {
        closed = true
      }
    }
    const abort = new AbortController()
    const made = resolver()
    const pushing = made.push(`${server.host}/a:1`, { ...layer, sizeBytes: 1000 << 20 }, { open: source, signal: abort.signal })
    pushing.catch(() => {})
    await expect.poll(() => given).toBeGreaterThan(0)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(given).toBeLessThan(100)
    abort.abort(new Error('enough'))
    await expect(pushing).rejects.toThrow('enough')
    await expect.poll(() => closed).toBe(true)
    made.close()
    // A server that does not read does not learn of the end.
    held?.resume()
    await expect.poll(server.openSockets).toBe(0)
  })

  it('mounts from the likeliest repository, and uploads where it may not', async () => {
    let refuse = false
    const server = await serve(async (request, response) => {
      await bodyOf(request)
      if (request.method === 'HEAD') response.writeHead(404).end()
      else if (request.method === 'PUT') response.writeHead(201).end()
      else if (request.url?.includes('mount=')) response.writeHead(refuse ? 401 : 201).end()
      else response.writeHead(202, { location: '/upload' }).end()
    })
    const mountFrom = ['x/y', 'a/b/d', 'a/c', 'a/b/c']
    expect(await resolver().push(`${server.host}/a/b/c:1`, layer, { ...options, mountFrom })).toBe('mounted')
    expect(server.lines()[1]).toBe(`POST /v2/a/b/c/blobs/uploads/?mount=${encodeURIComponent(layer.digest)}&from=a%2Fb%2Fd`)
    refuse = true
    expect(await resolver().push(`${server.host}/a/b/c:1`, layer, { ...options, mountFrom })).toBe('pushed')
  })

  it('refuses descriptors that cannot be', async () => {
    for (const wrong of [{ digest: 'sha256:1' }, { sizeBytes: -1 }, { mediaType: '' }]) {
      await expect(resolver().push('127.0.0.1:1/a:1', { ...layer, ...wrong }, options)).rejects.toMatchObject({
        code: 'InvalidArgument',
      })
    }
  })
})
