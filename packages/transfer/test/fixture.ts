import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createContentStore } from '@containerd-ts/content-local/store'
import { createExchange } from '@containerd-ts/events-exchange/exchange'
import { platformsOfSystem } from '@containerd-ts/images'
import {
  AlreadyExistsError,
  type Differ,
  NotFoundError,
  type RegistryImage,
  type Snapshotter,
  type StoredImage,
} from '@containerd-ts/interface'
import { createMetadataStore } from '@containerd-ts/metadata-level'
import { createTransferrer, type TransferOptions, type UnpackTarget } from '../src/index.js'

const types = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
}

export const sha256 = (bytes: string | Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** Blobs of a registry by their digests, as images of one index for two platforms. */
export function twoPlatforms() {
  const blobs = new Map<string, { bytes: Buffer; mediaType: string }>()
  function put(mediaType: string, content: string | object) {
    const bytes = Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))
    const digest = sha256(bytes)
    blobs.set(digest, { bytes, mediaType })
    return { mediaType, digest, size: bytes.length }
  }
  function image(architecture: string, layers: readonly string[]) {
    const stored = layers.map((layer) => put(types.layer, layer))
    const diff_ids = stored.map(({ digest }) => digest)
    const config = put(types.config, { os: 'linux', architecture, rootfs: { type: 'layers', diff_ids } })
    return { ...put(types.manifest, { schemaVersion: 2, config, layers: stored }), platform: { os: 'linux', architecture } }
  }
  const amd64 = image('amd64', ['base', 'amd64'])
  const s390x = image('s390x', ['base', 's390x'])
  const index = put(types.index, { schemaVersion: 2, manifests: [amd64, s390x] })
  return { blobs, index, amd64, s390x }
}

/** A registry with one repository, `test/image:latest`. */
export async function startRegistry({ blobs, index }: ReturnType<typeof twoPlatforms>) {
  const fetched: string[] = []
  const server = createServer((request, response) => {
    const [, kind, name = ''] = /^\/v2\/test\/image\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? []
    const digest = name === 'latest' ? index.digest : name
    const blob = kind === undefined ? undefined : blobs.get(digest)
    if (blob === undefined) {
      response.writeHead(404).end()
      return
    }
    if (request.method === 'GET') fetched.push(digest)
    response.writeHead(200, {
      'content-type': blob.mediaType,
      'content-length': blob.bytes.length,
      'docker-content-digest': digest,
    })
    response.end(request.method === 'HEAD' ? undefined : blob.bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    reference: `127.0.0.1:${address.port}/test/image:latest`,
    /** Digests in the order in which they were asked for. */
    fetched,
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Snapshots that are only names, and a differ that only looks at the layer. */
export function unpackTarget(name = 'overlayfs', apply?: Differ['apply']): UnpackTarget & { snapshots: Map<string, string> } {
  const snapshots = new Map<string, string>()
  const snapshotter: Partial<Snapshotter> = {
    async stat(_, key) {
      const parent = snapshots.get(key)
      if (parent === undefined) throw new NotFoundError(`snapshot ${key}`)
      return { kind: 'committed', name: key, parent, labels: {}, createdAt: epoch, updatedAt: epoch }
    },
    async prepare(_, key, parent) {
      if (parent !== '' && !snapshots.has(parent)) throw new NotFoundError(`snapshot ${parent}`)
      snapshots.set(key, parent)
      return []
    },
    async commit(_, committed, key) {
      if (snapshots.has(committed)) throw new AlreadyExistsError(`snapshot ${committed}`)
      snapshots.set(committed, snapshots.get(key) ?? '')
      snapshots.delete(key)
    },
    async remove(_, key) {
      snapshots.delete(key)
    },
  }
  return {
    name,
    platforms: platformsOfSystem({ os: 'linux', architecture: 'amd64', variant: '' }),
    snapshotter: snapshotter as Snapshotter,
    // The layers of these tests are not compressed, so their digests are the diff ids.
    differ: { apply: apply ?? (async (_, descriptor) => descriptor) },
    snapshots,
  }
}
const epoch = { seconds: 0, nanos: 0 }

/** A transferrer over real stores. */
export async function openTransferrer(options: Partial<TransferOptions> = {}) {
  const root = await mkdtemp(join(tmpdir(), 'transfer-'))
  const content = await createContentStore({ root: join(root, 'content') })
  const metadata = await createMetadataStore({
    path: join(root, 'meta'),
    content,
    snapshotters: new Map(),
    events: createExchange(),
  })
  const { images, leases } = metadata
  const fixed = { content: metadata.content, images, leases, targets: [], verifiers: new Map(), hostDir: '', userAgent: 'test' }
  return {
    metadata,
    transferrer: createTransferrer({ ...fixed, maxDownloads: 3, maxUploads: 3, ...options }),
    async close() {
      await metadata.close()
      await content.close()
      await rm(root, { recursive: true })
    },
  }
}

export function registryImage(reference: string): RegistryImage {
  return { kind: 'registry', reference, headers: {}, hostDir: '', defaultScheme: 'http' }
}

export function storedImage(image: Partial<StoredImage> = {}): StoredImage {
  return {
    kind: 'image-store',
    name: 'image',
    labels: {},
    platforms: [],
    allMetadata: false,
    manifestLimit: 0,
    extraReferences: [],
    unpacks: [],
    ...image,
  }
}

export function platform(architecture: string) {
  return { os: 'linux', architecture, variant: '', osVersion: '', osFeatures: [] }
}
