import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createInflate } from 'node:zlib'
import { DataLossError, UnimplementedError } from '@containerd-ts/interface'
import { codeOf, TransportFailure } from './transport-failure.js'

/** The body of a response, piece by piece and no faster than it is asked for. */
export interface ChunkReader {
  /** Undefined at the end. @throws TransportFailure when the connection breaks or stalls, the signal's reason when it is aborted. */
  next(): Promise<Uint8Array | undefined>
  /** Gives the rest up and with it the connection. Harmless at the end. */
  cancel(): void
}

/** Chunks are handed on as the socket delivers them. `stallMs`: how long to wait for one. */
export function readChunks(response: IncomingMessage, stallMs: number, signal: AbortSignal): ChunkReader {
  const chunks: Uint8Array[] = []
  let ended = false
  let failure: Error | undefined
  let wake = () => {}
  // Unlike the stream's own iterator this never joins chunks.
  response.on('data', (chunk: Uint8Array) => {
    chunks.push(chunk)
    response.pause()
    wake()
  })
  response.on('end', () => {
    ended = true
    wake()
  })
  response.on('error', (error) => {
    failure ??= error
    wake()
  })
  response.on('close', () => {
    if (!ended) failure ??= new Error('the connection was closed')
    wake()
  })
  response.pause()

  async function next(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (signal.aborted) throw signal.reason
      const chunk = chunks.shift()
      if (chunk !== undefined) return chunk
      if (failure !== undefined) throw new TransportFailure(failure, 'exchange')
      if (ended) return undefined
      await moved()
    }
  }

  function moved(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => response.destroy(new Error(`nothing came for ${stallMs} ms`)), stallMs)
      wake = () => {
        clearTimeout(timer)
        wake = () => {}
        resolve()
      }
      response.resume()
    })
  }

  return {
    next,
    cancel() {
      if (!ended) response.destroy()
    },
  }
}

/** At most `limit` bytes; `complete` is false when there are more, which are given up. */
export async function readUpTo(reader: ChunkReader, limit: number): Promise<{ bytes: Buffer; complete: boolean }> {
  const chunks: Uint8Array[] = []
  let length = 0
  for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
    chunks.push(chunk)
    length += chunk.length
    if (length <= limit) continue
    reader.cancel()
    return { bytes: Buffer.concat(chunks).subarray(0, limit), complete: false }
  }
  return { bytes: Buffer.concat(chunks), complete: true }
}

/**
 * The bytes that a `Content-Encoding` stands for.
 *
 * @throws UnimplementedError for other encodings than gzip and deflate.
 */
export function decoded(reader: ChunkReader, encoding: string | undefined): ChunkReader {
  const name = encoding?.trim().toLowerCase() ?? ''
  if (name === '' || name === 'identity') return reader
  if (name !== 'gzip' && name !== 'x-gzip' && name !== 'deflate') {
    reader.cancel()
    throw new UnimplementedError(`Content-Encoding ${JSON.stringify(name.slice(0, 64))}`)
  }
  const decoder = name === 'deflate' ? createInflate() : createGunzip()
  const feeding = pipeline(Readable.from(chunksOf(reader), { objectMode: false }), decoder)
  // Its failure shows on the decoder too.
  feeding.catch(() => {})
  const iterator: AsyncIterator<Uint8Array> = decoder[Symbol.asyncIterator]()
  return {
    async next() {
      try {
        const step = await iterator.next()
        return step.done ? undefined : step.value
      } catch (error) {
        if (error instanceof Error && codeOf(error).startsWith('Z_')) throw new DataLossError(`damaged ${name}: ${error.message}`)
        throw error
      }
    },
    cancel() {
      decoder.destroy()
      reader.cancel()
    },
  }
}

async function* chunksOf(reader: ChunkReader): AsyncGenerator<Uint8Array> {
  for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) yield chunk
}
