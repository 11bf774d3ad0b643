import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { type Context, type Descriptor, quote } from '@containerd-ts/interface'

const maxOutputBytes = 32 * 1024

/** What a verifier said. */
export interface Verdict {
  exitCode: number
  /** Its standard output, of which no more than 32 KiB are kept. */
  text: string
}

/**
 * Asks a program: it is given the image by its arguments and, as an OCI descriptor, on its standard input, and answers by its exit code. It
 * and what it has started are killed when it takes longer than `timeoutMs`, and in any case when it has ended.
 *
 * @throws Error when it cannot be started, takes too long or is killed, and the reason of the context's signal.
 */
export async function runVerifier(
  ctx: Context,
  path: string,
  image: { name: string; descriptor: Descriptor },
  timeoutMs: number,
): Promise<Verdict> {
  const { mediaType, digest, sizeBytes, annotations } = image.descriptor
  const args = ['-name', image.name, '-digest', digest, '-stdin-media-type', 'application/vnd.oci.descriptor.v1+json']
  ctx.signal.throwIfAborted()
  // A process group of its own, so that all of it can be killed.
  const child = spawn(path, args, { stdio: 'pipe', detached: true })
  const killAll = () => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      // Nothing is left of it.
    }
  }
  let late = false
  const timer = setTimeout(() => {
    late = true
    killAll()
  }, timeoutMs)
  ctx.signal.addEventListener('abort', killAll, { once: true })
  try {
    // It need not read what it is told.
    child.stdin.on('error', () => {})
    const labels = Object.keys(annotations).length > 0 ? { annotations } : {}
    child.stdin.end(JSON.stringify({ mediaType, digest, size: sizeBytes, ...labels }))
    const output = Promise.all([beginningOf(child.stdout), beginningOf(child.stderr)])
    const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        resolve({ code, signal })
        // What it has left behind would hold the output open.
        killAll()
      })
    })
    const [text, messages] = await output
    if (messages !== '') ctx.log.debug('image verifier', { path, messages })
    ctx.signal.throwIfAborted()
    if (late) throw new Error(`${quote(path)} took longer than ${timeoutMs} ms`)
    if (code === null) throw new Error(`${quote(path)} was killed by ${signal}`)
    return { exitCode: code, text }
  } finally {
    clearTimeout(timer)
    ctx.signal.removeEventListener('abort', killAll)
  }
}

/** All of it is read, so that nobody has to wait for that, and the beginning is given back. */
async function beginningOf(stream: Readable): Promise<string> {
  const kept: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (bytes < maxOutputBytes) kept.push(chunk.subarray(0, maxOutputBytes - bytes))
      bytes += chunk.length
    }
  } catch {
    // It was killed.
  }
  return `${Buffer.concat(kept).toString().trim()}${bytes > maxOutputBytes ? '(truncated)' : ''}`
}
