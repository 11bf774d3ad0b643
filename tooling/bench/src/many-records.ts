import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { now } from '@containerd-ts/api'
import { createExchange } from '@containerd-ts/events-exchange/exchange'
import { background, type ContentStore, NotFoundError, UnimplementedError } from '@containerd-ts/interface'
import { createMetadataStore } from '@containerd-ts/metadata-level/store'
import { atOnce } from './measure.js'

const specBytes = 4096
// Of each image: what its manifest keeps.
const blobsAnImage = 10

/**
 * Makes the metadata of a daemon that has much, below its root: images that keep blobs by labels, and containers. The blobs have no bytes:
 * making a hundred thousand files is not what is to be measured.
 */
export async function makeManyRecords(root: string, counts: { blobs: number; containers: number }): Promise<void> {
  const metadata = await createMetadataStore({
    path: join(root, 'io.containerd.metadata.v1.level', 'meta.level'),
    content: bodiless(),
    snapshotters: new Map(),
    events: createExchange(),
    sync: false,
  })
  const ctx = background('many')
  const digestOf = (n: number) => `sha256:${createHash('sha256').update(String(n)).digest('hex')}`
  const blob = async (n: number) => {
    const first = n - (n % blobsAnImage)
    const children = Array.from({ length: blobsAnImage - 1 }, (_, child) => [
      `containerd.io/gc.ref.content.l.${child}`,
      digestOf(first + child + 1),
    ])
    const writer = await metadata.content.writer(ctx, { ref: digestOf(n) })
    await writer.commit(ctx, { expected: digestOf(n), labels: n === first ? Object.fromEntries(children) : {} })
    if (n !== first) return
    const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestOf(n), sizeBytes: 1, annotations: {} }
    await metadata.images.create(ctx, { name: `example.com/image:${n}`, labels: {}, target })
  }
  const container = async (n: number) => {
    const spec = { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.alloc(specBytes, 'x') }
    const rest = { image: '', runtime: { name: 'r' }, snapshotter: '', snapshotKey: '', extensions: {}, sandbox: '' }
    await metadata.containers.create(ctx, { id: `c${n}`, labels: { n: String(n) }, spec, ...rest })
  }
  await atOnce(500, counts.blobs, blob)
  await atOnce(500, counts.containers, container)
  await metadata.close()
}

/** A content store that keeps nothing and says of everything that it was written. */
function bodiless(): ContentStore {
  const unused = () => {
    throw new UnimplementedError('no bytes here')
  }
  return {
    async writer(_ctx, { ref }) {
      const startedAt = now()
      return {
        status: () => ({ ref, offset: 1, total: 1, expected: '', startedAt, updatedAt: startedAt }),
        digest: unused,
        async write() {},
        async truncate() {},
        async commit(_commitCtx, { expected = '' }) {
          return { digest: expected, sizeBytes: 1, labels: {}, createdAt: startedAt, updatedAt: startedAt }
        },
        async close() {},
      }
    },
    async info(_ctx, digest) {
      throw new NotFoundError(`content ${digest}`)
    },
    update: unused,
    async *walk() {},
    delete: unused,
    reader: unused,
    status: unused,
    listStatuses: async () => [],
    abort: unused,
  }
}
