import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { createResolver, type ResolverOptions } from '../src/index.js'

/** A request as a server saw it. */
export interface Seen {
  method: string
  url: string
  headers: IncomingMessage['headers']
}

export interface TestServer {
  /** host:port */
  host: string
  seen: Seen[]
  /** `METHOD url` of every request. */
  lines(): string[]
  openSockets(): number
  server: Server
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

/** A server on loopback that ends with the test. */
export async function serve(handler: Handler, address = '127.0.0.1'): Promise<TestServer> {
  const seen: Seen[] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
    void Promise.resolve(handler(request, response)).catch(() => response.destroy())
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const bound = server.address()
  if (typeof bound !== 'object' || bound === null) throw new Error('no port')
  return {
    host: `${address}:${bound.port}`,
    seen,
    lines: () => seen.map(({ method, url }) => `${method} ${url}`),
    openSockets: () => sockets.size,
    server,
  }
}

export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export const manifestType = 'application/vnd.oci.image.manifest.v1+json'
export const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip'

/** Answers with a manifest, its digest included. */
export function giveManifest(response: ServerResponse, bytes: string): void {
  response
    .writeHead(200, { 'content-type': manifestType, 'docker-content-digest': digestOf(bytes), 'content-length': bytes.length })
    .end(bytes)
}

/** All that an iterable gives. */
export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  return collect(request)
}

/** A signal that is never aborted. */
export const never: AbortSignal = new AbortController().signal

export async function* once(bytes: Uint8Array | string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(bytes)
}

/** The error that a promise ends with. */
export async function errorOf(promise: Promise<unknown>): Promise<Error & { code?: unknown }> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
  throw new Error('no error')
}

/** A resolver for servers without TLS, closed when the test is over. */
export function resolver(options: ResolverOptions = {}) {
  const made = createResolver({ defaultScheme: 'http', ...options })
  onTestFinished(() => made.close())
  return made
}
