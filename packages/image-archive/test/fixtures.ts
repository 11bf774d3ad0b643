import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { encodeHeader, endOfArchive, padded, TarType } from '@containerd-ts/archive'
import { createContentStore, type LocalContentStore } from '@containerd-ts/content-local'
import { readBlob, storeBlob } from '@containerd-ts/images'
import { background, type Context, type Descriptor, type Labels } from '@containerd-ts/interface'
import { onTestFinished } from 'vitest'

export const ctx = background('test')

export const types = {
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
}

export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** What a program prints. */
export function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' })
}

export function hasProgram(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0
}

/** A directory that is gone after the test. */
export async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'image-archive-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  return dir
}

/** A store that is gone after the test. */
export async function openStore(): Promise<LocalContentStore> {
  const store = await createContentStore({ root: await scratch() })
  onTestFinished(() => store.close())
  return store
}

export async function put(
  store: LocalContentStore,
  bytes: Uint8Array | string,
  mediaType: string,
  labels: Labels = {},
): Promise<Descriptor> {
  const data = Buffer.from(bytes)
  const descriptor = { mediaType, digest: digestOf(data), sizeBytes: data.length, annotations: {} }
  await storeBlob(ctx, store, descriptor, { ref: descriptor.digest, labels, bytes: () => [data] })
  return descriptor
}

export function reference({ mediaType, digest, sizeBytes }: Descriptor, platform?: object): object {
  return { mediaType, digest, size: sizeBytes, ...(platform && { platform }) }
}

/** An image with these layers; gives back its manifest. */
export async function putImage(store: LocalContentStore, architecture: string, layers: Descriptor[]): Promise<Descriptor> {
  const contents = await Promise.all(layers.map(({ digest }) => readBlob(ctx, store, digest, 1 << 24)))
  const diffIds = contents.map((bytes) => digestOf(bytes[0] === 0x1f ? gunzipSync(bytes) : bytes))
  const rootfs = { type: 'layers', diff_ids: diffIds }
  const config = await put(store, JSON.stringify({ architecture, os: 'linux', rootfs }), types.config)
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: reference(config),
    layers: layers.map((l) => reference(l)),
  }
  return put(store, JSON.stringify(manifest), types.manifest)
}

/** Digests of all blobs, and their labels. */
export async function contentsOf(store: LocalContentStore): Promise<Record<string, Labels>> {
  const found: [string, Labels][] = []
  for await (const { digest, labels } of store.walk(ctx, [])) found.push([digest, labels])
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** An uncompressed archive; a text that begins with `->` makes a symbolic link. */
export function tarOf(files: Readonly<Record<string, Uint8Array | string>> | [string, Uint8Array | string][]): Buffer {
  const entries = Array.isArray(files) ? files : Object.entries(files)
  const parts = entries.flatMap(([name, content]) => {
    const link = typeof content === 'string' && content.startsWith('->') ? content.slice(2) : undefined
    const data = link === undefined ? Buffer.from(content) : Buffer.alloc(0)
    return [headerOf(name, data.length, link), data, Buffer.alloc(padded(data.length) - data.length)]
  })
  return Buffer.concat([...parts, endOfArchive])
}

export function headerOf(name: string, size: number, link?: string): Buffer {
  return encodeHeader({
    name: Buffer.from(name),
    linkName: Buffer.from(link ?? ''),
    type: link === undefined ? TarType.Regular : TarType.Symlink,
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    modified: { seconds: 0, nanos: 0 },
    major: 0,
    minor: 0,
    xattrs: new Map(),
  })
}

/** Bytes as a stream in pieces of that size. `closed` tells whether it was left in order. */
export function streamOf(bytes: Uint8Array, pieceBytes = 1000): AsyncIterable<Uint8Array> & { closed: boolean } {
  const stream = {
    closed: false,
    async *[Symbol.asyncIterator]() {
      try {
        for (let offset = 0; offset < bytes.length; offset += pieceBytes) yield bytes.subarray(offset, offset + pieceBytes)
      } finally {
        stream.closed = true
      }
    },
  }
  return stream
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces)
}

export function cancellableContext(): { cancelled: Context; cancel(): void } {
  const controller = new AbortController()
  return { cancelled: { ...ctx, signal: controller.signal }, cancel: () => controller.abort() }
}
