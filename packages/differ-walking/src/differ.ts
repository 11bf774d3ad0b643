import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { now } from '@containerd-ts/api'
import type { Applied, ApplyTarget, Archive, Compared } from '@containerd-ts/archive'
import {
  type ApplyOptions,
  background,
  type CompareOptions,
  type ContentStore,
  type ContentWriter,
  type Context,
  type Descriptor,
  type Differ,
  InvalidArgumentError,
  isAlreadyExists,
  type Labels,
  type Mount,
} from '@containerd-ts/interface'
import { inUserNamespace } from '@containerd-ts/linux'
import { overlayDirectories } from '@containerd-ts/mount'
import { compressorFor } from './compressor.js'
import { layerStream } from './layer-stream.js'
import { uncompressedLayer } from './media-types.js'
import type { StreamProcessor } from './stream-processor.js'

/** What the differ needs of others. */
export interface WalkingDifferDeps {
  /** The namespaced content store. */
  content: ContentStore
  /** Belongs to the differ from now on. */
  archive: Archive
  /** Where mount points are made. */
  tempRoot: string
  /** Programs for media types of their own; of several that take a type, the last one. Default: none. */
  processors?: readonly StreamProcessor[]
}

export interface WalkingDiffer extends Differ {
  close(): Promise<void>
}

const uncompressedLabel = 'containerd.io/uncompressed'
const readSize = 256 * 1024

/** Unpacks layers onto any mounts, and makes layers by walking two trees at once. */
export function createWalkingDiffer({ content, archive, tempRoot, processors = [] }: WalkingDifferDeps): WalkingDiffer {
  async function apply(
    ctx: Context,
    descriptor: Descriptor,
    mounts: readonly Mount[],
    options: ApplyOptions = {},
  ): Promise<Descriptor> {
    const started = performance.now()
    const payloads = new Map(Object.entries(options.payloads ?? {}).map(([id, { value }]) => [id, value]))
    const blob = readBlob(ctx, content, descriptor.digest)
    const layer = layerStream(blob, descriptor.mediaType, { processors, payloads, signal: ctx.signal })
    const target = targetOf(mounts, tempRoot)
    const applied = await archive.apply(layer.bytes, target, {
      compression: layer.compression,
      ...(layer.asStored && { sizeBytes: descriptor.sizeBytes }),
      sync: options.syncFs ?? true,
      signal: ctx.signal,
    })
    for (const warning of applied.warnings)
      ctx.log.warn('something of a layer was left out', { digest: descriptor.digest, warning })
    logApplied(ctx, descriptor, applied, performance.now() - started)
    return { mediaType: uncompressedLayer, digest: applied.digest, sizeBytes: applied.sizeBytes, annotations: {} }
  }

  async function compare(
    ctx: Context,
    lower: readonly Mount[],
    upper: readonly Mount[],
    options: CompareOptions = {},
  ): Promise<Descriptor> {
    const mediaType = options.mediaType || `${uncompressedLayer}+gzip`
    const compressor = compressorFor(mediaType)
    const ref = options.ref || uniqueRef()
    const writer = await content.writer(ctx, { ref })
    try {
      // What is left of an earlier attempt is of no use.
      if (options.ref) await writer.truncate()
      const comparison = archive.compare(lower, upper, {
        tempRoot,
        signal: ctx.signal,
        ...(options.sourceDateEpoch && { latestSeconds: options.sourceDateEpoch.seconds }),
      })
      const write = async (bytes: AsyncIterable<Uint8Array>) => {
        for await (const chunk of bytes) await writer.write(chunk)
      }
      let compared: Compared
      if (compressor === undefined) {
        await write(comparison.bytes)
        compared = await comparison.result
      } else {
        await pipeline(Readable.from(comparison.bytes, { objectMode: false }), compressor(), write)
        compared = await comparison.result
      }
      const labels: Labels =
        compressor === undefined ? { ...options.labels } : { ...options.labels, [uncompressedLabel]: compared.digest }
      return { mediaType, annotations: {}, ...(await publish(ctx, writer, labels)) }
    } catch (error) {
      await writer.close()
      // Nobody else knows the name. The call itself may be over by now.
      if (!options.ref) await content.abort(background(ctx.namespace, { log: ctx.log }), ref).catch(() => {})
      throw error
    } finally {
      await writer.close()
    }
  }

  /** The blob may be there already; then only a missing label is added. */
  async function publish(ctx: Context, writer: ContentWriter, labels: Labels): Promise<Pick<Descriptor, 'digest' | 'sizeBytes'>> {
    const digest = writer.digest()
    try {
      await writer.commit(ctx, { expected: digest, labels })
    } catch (error) {
      if (!isAlreadyExists(error)) throw error
    }
    const info = await content.info(ctx, digest)
    const uncompressed = labels[uncompressedLabel]
    if (uncompressed !== undefined && info.labels[uncompressedLabel] === undefined) {
      await content.update(ctx, { digest, labels: { [uncompressedLabel]: uncompressed } }, [`labels.${uncompressedLabel}`])
    }
    return { digest, sizeBytes: info.sizeBytes }
  }

  return { apply, compare, close: () => archive.close() }
}

/** A single overlay is unpacked straight into its upper directory, which spares the kernel's copying and is what makes a rebase possible. */
function targetOf(mounts: readonly Mount[], tempRoot: string): ApplyTarget {
  const [only, ...others] = mounts
  if (only?.type === 'overlay' && others.length === 0 && !inUserNamespace()) {
    const { upper, lowers } = overlayDirectories(only.options)
    if (upper !== undefined) return { kind: 'overlay', upper, lowers }
  }
  if (only === undefined) throw new InvalidArgumentError('there must be mounts to apply a layer to')
  return { kind: 'mounts', mounts, tempRoot }
}

async function* readBlob(ctx: Context, content: ContentStore, digest: string): AsyncGenerator<Uint8Array> {
  const reader = await content.reader(ctx, digest)
  try {
    for (let offset = 0; offset < reader.sizeBytes; ) {
      ctx.signal.throwIfAborted()
      const buffer = Buffer.allocUnsafeSlow(Math.min(readSize, reader.sizeBytes - offset))
      const count = await reader.read(buffer, offset)
      if (count === 0) return
      offset += count
      yield buffer.subarray(0, count)
    }
  } finally {
    await reader.close()
  }
}

function uniqueRef(): string {
  const { seconds, nanos } = now()
  return `${seconds}${String(nanos).padStart(9, '0')}-${randomBytes(3).toString('base64url')}`
}

function logApplied(ctx: Context, { digest, sizeBytes, mediaType }: Descriptor, applied: Applied, ms: number): void {
  ctx.log.debug('applied a layer', { digest, sizeBytes, mediaType, uncompressed: applied.digest, ms: Math.round(ms) })
}
