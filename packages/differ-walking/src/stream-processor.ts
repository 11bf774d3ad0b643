import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { quote, UnknownError } from '@containerd-ts/interface'

/** A program that turns a layer of some media types into one of another, for instance by decrypting it. */
export interface StreamProcessor {
  id: string
  /** Media types that it takes. */
  accepts: readonly string[]
  /** Media type of what it gives back. */
  returns: string
  /** The program: a path, or a name that is looked for in PATH. */
  path: string
  args: readonly string[]
  /** `NAME=value`, beside the daemon's own environment. */
  env: readonly string[]
}

const maxErrorText = 8192

/**
 * Runs a program that reads the layer on its standard input and writes what it makes of it on its standard output. `payload` is for it
 * to read on descriptor 3.
 *
 * @throws UnknownError with what the program wrote on its standard error, when it ends otherwise than with 0 or cannot be started.
 */
export async function* runStreamProcessor(
  processor: StreamProcessor,
  layer: AsyncIterable<Uint8Array>,
  options: { mediaType: string; payload?: Uint8Array; signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  const { mediaType, payload, signal } = options
  const child = spawn(processor.path, [...processor.args], {
    stdio: ['pipe', 'pipe', 'pipe', ...(payload === undefined ? [] : ['pipe' as const])],
    env: { ...process.env, STREAM_PROCESSOR_MEDIATYPE: mediaType, ...environment(processor.env) },
    signal,
    killSignal: 'SIGKILL',
  })
  const ended = endOf(child, processor)
  // Whoever waits for it hears of it.
  ended.catch(() => {})
  let complete = false
  try {
    // A program may end before it has read everything.
    const feeding = pipeline(layer, child.stdin as Writable).catch(ignoreBrokenPipe)
    const handing = payload === undefined ? undefined : pipeline([payload], child.stdio[3] as Writable).catch(ignoreBrokenPipe)
    feeding.catch(() => child.kill('SIGKILL'))
    for await (const chunk of child.stdout as Readable) yield chunk as Uint8Array
    await ended
    await Promise.all([feeding, handing])
    complete = true
  } finally {
    if (!complete) {
      child.kill('SIGKILL')
      await ended.catch(() => {})
    }
  }
}

function endOf(child: ChildProcess, { id, path }: StreamProcessor): Promise<void> {
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    if (text.length < maxErrorText) text += chunk.toString()
  })
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(
        error.name === 'AbortError'
          ? error
          : new UnknownError(`stream processor ${quote(id)}: cannot run ${path}: ${error.message}`, { cause: error }),
      )
    })
    child.once('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(new UnknownError(`stream processor ${quote(id)}: ${text.trim() || `${path} ended with ${signal ?? code}`}`))
    })
  })
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET' && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
}

function environment(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const equals = entry.indexOf('=')
      return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)]
    }),
  )
}
