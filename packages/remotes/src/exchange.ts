import {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestHttp,
  validateHeaderValue,
} from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Socket } from 'node:net'
import { DataLossError, InvalidArgumentError } from '@containerd-ts/interface'
import { type ChunkReader, readChunks } from './chunk-reader.js'
import type { Route } from './connections.js'
import { type HttpProxy, plainHost } from './proxy.js'
import { type Phase, TransportFailure, timedOut } from './transport-failure.js'

const tlsTimeoutMs = 10_000

/** Headers by lower-case name. */
export type Headers = Readonly<Record<string, string>>

/** What is sent with a request, of a size that is known before. */
export interface RequestBody {
  sizeBytes: number
  /** Gives the bytes from the start, as often as it is called. */
  open(): AsyncIterable<Uint8Array>
  /** Told of the bytes sent so far. */
  onProgress?: ((bytes: number) => void) | undefined
}

/** One request, without redirects, retries and authorization. */
export interface ExchangeOptions {
  method: string
  url: URL
  headers: Headers
  body?: RequestBody | undefined
  route: Route
  dialTimeoutMs: number
  /** How long to wait for the answer when all is sent, and for the other side to take or give more bytes. */
  stallMs: number
  signal: AbortSignal
}

/** The head of an answer and the way to its body, which is to be read to its end or given up. */
export interface Answer {
  method: string
  url: URL
  status: number
  statusText: string
  headers: IncomingHttpHeaders
  /** The challenges of a 401, one by one: joined they could not be told apart. */
  wwwAuthenticate: string[]
  body: ChunkReader
}

/** @throws TransportFailure, the signal's reason when it is aborted, whatever the source of the body throws. */
export function exchange(options: ExchangeOptions): Promise<Answer> {
  const { method, url, body, signal, stallMs } = options
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    for (const [name, value] of Object.entries(options.headers)) {
      try {
        validateHeaderValue(name, value)
      } catch (error) {
        reject(new InvalidArgumentError(`header ${name}: ${error instanceof Error ? error.message : error}`, { cause: error }))
        return
      }
    }
    let phase: Phase = 'connect'
    let sourceFailure: { error: unknown } | undefined
    const secure = url.protocol === 'https:'
    const { agent, proxy } = options.route
    const length = body && { 'content-length': String(body.sizeBytes) }
    const common = { method, agent, headers: { ...options.headers, ...length, ...(proxy && proxyHeaders(url, proxy)) } }
    // A URL's parts are given one by one, as its user and password would become an Authorization header.
    const request =
      proxy === undefined
        ? (secure ? requestHttps : requestHttp)({
            ...common,
            hostname: plainHost(url),
            port: url.port,
            path: `${url.pathname}${url.search}`,
          })
        : requestHttp({
            ...common,
            hostname: plainHost(proxy.url),
            port: proxy.url.port,
            path: `${url.protocol}//${url.host}${url.pathname}${url.search}`,
          })

    const onAbort = () => request.destroy(new Error('aborted'))
    signal.addEventListener('abort', onAbort, { once: true })
    const limit = timeLimit(request)
    request.on('socket', (socket: Socket) => {
      if (!socket.connecting) {
        phase = 'exchange'
        return
      }
      limit.start('connecting', options.dialTimeoutMs)
      socket.once('connect', () => {
        phase = secure ? 'handshake' : 'exchange'
        if (secure) limit.start('the TLS handshake', tlsTimeoutMs)
        else limit.stop()
      })
      socket.once('secureConnect', () => {
        phase = 'exchange'
        limit.stop()
      })
    })
    request.on('finish', () => limit.start('the answer', stallMs))
    request.on('close', () => {
      limit.stop()
      signal.removeEventListener('abort', onAbort)
    })
    request.on('error', (error) => {
      if (signal.aborted) reject(signal.reason)
      else if (sourceFailure !== undefined) reject(sourceFailure.error)
      else reject(new TransportFailure(error, phase))
    })
    let answered = false
    request.on('response', (response: IncomingMessage) => {
      answered = true
      limit.stop()
      // What answers before it has heard all will not hear the rest: the connection is of no more use.
      response.once('end', () => request.writableFinished || request.destroy())
      resolve({
        method,
        url,
        status: response.statusCode ?? 0,
        statusText: response.statusMessage ?? '',
        headers: response.headers,
        wwwAuthenticate: response.headersDistinct['www-authenticate'] ?? [],
        body: readChunks(response, stallMs, signal),
      })
    })

    if (body === undefined) {
      request.end()
      return
    }
    sendBody(request, body, stallMs, () => answered || request.destroyed).catch((error) => {
      sourceFailure = { error }
      request.destroy(new Error('the source failed'))
    })
  })
}

function proxyHeaders(url: URL, { authorization }: HttpProxy): Headers {
  return { host: url.host, ...(authorization !== undefined && { 'proxy-authorization': authorization }) }
}

async function sendBody(request: ClientRequest, body: RequestBody, stallMs: number, isOver: () => boolean): Promise<void> {
  let sent = 0
  // Leaving the loop closes the source.
  for await (const chunk of body.open()) {
    if (isOver()) return
    sent += chunk.length
    if (sent > body.sizeBytes) break
    if (!request.write(chunk)) await drained(request, stallMs, isOver)
    if (isOver()) return
    body.onProgress?.(sent)
  }
  if (isOver()) return
  if (sent !== body.sizeBytes)
    throw new DataLossError(`unexpected size of what is sent: ${sent} bytes, expected ${body.sizeBytes}`)
  request.end()
}

function drained(request: ClientRequest, stallMs: number, isOver: () => boolean): Promise<void> {
  if (isOver()) return Promise.resolve()
  return new Promise((resolve) => {
    const events = ['drain', 'close', 'response'] as const
    const done = () => {
      clearTimeout(timer)
      for (const event of events) request.off(event, done)
      resolve()
    }
    const timer = setTimeout(() => request.destroy(timedOut('sending', stallMs)), stallMs)
    for (const event of events) request.on(event, done)
  })
}

function timeLimit(request: ClientRequest) {
  let timer: NodeJS.Timeout | undefined
  return {
    start(what: string, ms: number) {
      clearTimeout(timer)
      timer = setTimeout(() => request.destroy(timedOut(what, ms)), ms)
    },
    stop() {
      clearTimeout(timer)
    },
  }
}
