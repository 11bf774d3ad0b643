import { createHash, randomBytes } from 'node:crypto'
import { CreateContainerRequest } from '@containerd-ts/api/containerd/services/containers/v1/containers'
import { ReadContentRequest, WriteAction, WriteContentRequest } from '@containerd-ts/api/containerd/services/content/v1/content'
import { type Containerd, writeBlob } from '@containerd-ts/client'
import { atOnce, median, times } from './measure.js'
import { framed } from './raw-grpc.js'
import type { Workload } from './workloads.js'

const specBytes = 4096
const mebibyte = 1 << 20

let serial = 0

/** A record as a client makes it: with a spec of some kilobytes. */
function container(id: string) {
  return {
    id,
    labels: { 'bench/label': id },
    image: 'docker.io/library/busybox:latest',
    runtime: { name: 'io.containerd.runc.v2', options: undefined },
    spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.alloc(specBytes, 'x') },
  }
}

async function createContainers(containerd: Containerd, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => `c${serial++}`)
  await atOnce(16, ids.length, async (n) => void (await containerd.containers.create({ container: container(ids[n] ?? '') })))
  return ids
}

async function removeContainers(containerd: Containerd, ids: readonly string[]): Promise<void> {
  await atOnce(16, ids.length, async (n) => void (await containerd.containers.delete({ id: ids[n] ?? '' })))
}

function digestOf(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`
}

async function put(containerd: Containerd, data: Buffer): Promise<string> {
  const digest = digestOf(data)
  await writeBlob(containerd, [data], {
    ref: `bench-${serial++}`,
    size: data.length,
    digest,
    labels: { 'containerd.io/gc.root': 'bench' },
  })
  return digest
}

/** What clients ask of the metadata side. */
export const metadataWorkloads: readonly Workload[] = [
  {
    name: 'create a container record',
    async measure({ containerd }) {
      const ids = await createContainers(containerd, 50)
      const took = await times(300, async () => {
        const id = `c${serial++}`
        ids.push(id)
        await containerd.containers.create({ container: container(id) })
      })
      await removeContainers(containerd, ids)
      return median(took)
    },
  },
  {
    name: 'the same, 8 at once (each)',
    async measure({ containerd, raw }) {
      const ids = Array.from({ length: 3000 }, () => `c${serial++}`)
      const bodies = ids.map((id) => [
        framed(CreateContainerRequest.encode(CreateContainerRequest.fromPartial({ container: container(id) })).finish()),
      ])
      const started = performance.now()
      await atOnce(8, ids.length, async (n) => {
        await raw.call('/containerd.services.containers.v1.Containers/Create', containerd.namespace, bodies[n] ?? [])
      })
      const took = performance.now() - started
      await removeContainers(containerd, ids)
      return took / ids.length
    },
  },
  {
    name: 'get a container record',
    async measure({ containerd }) {
      const ids = await createContainers(containerd, 400)
      const took = await times(2000, async (n) => void (await containerd.containers.get({ id: ids[n % ids.length] ?? '' })))
      await removeContainers(containerd, ids)
      return median(took)
    },
  },
  {
    name: 'list 400 container records',
    async measure({ containerd }) {
      const ids = await createContainers(containerd, 400)
      const took = await times(50, async () => {
        for await (const _ of containerd.containers.listStream({ filters: [] }));
      })
      await removeContainers(containerd, ids)
      return median(took)
    },
  },
  {
    name: 'list 400, one answer',
    async measure({ containerd }) {
      const ids = await createContainers(containerd, 400)
      const took = await times(50, async () => void (await containerd.containers.list({ filters: [] })))
      await removeContainers(containerd, ids)
      return median(took)
    },
  },
  {
    name: 'write a blob of 64 MiB',
    async measure({ containerd, raw }) {
      const piece = randomBytes(mebibyte)
      const took: number[] = []
      for (let round = 0; round < 9; round++) {
        piece.writeUInt32LE(serial++)
        const hash = createHash('sha256')
        for (let part = 0; part < 64; part++) hash.update(piece)
        const digest = `sha256:${hash.digest('hex')}`
        const body = [...writeRequests(`big-${serial}`, piece, 64, digest)]
        const started = performance.now()
        await raw.call('/containerd.services.content.v1.Content/Write', containerd.namespace, body)
        took.push(performance.now() - started)
        await containerd.content.delete({ digest })
      }
      return median(took.sort((a, b) => a - b))
    },
  },
  {
    name: 'read a blob of 64 MiB',
    async measure({ containerd, raw }) {
      const digest = await put(containerd, randomBytes(64 * mebibyte))
      const body = [framed(ReadContentRequest.encode(ReadContentRequest.fromPartial({ digest })).finish())]
      const took = await times(9, async () => {
        const read = await raw.call('/containerd.services.content.v1.Content/Read', containerd.namespace, body)
        if (read < 64 * mebibyte) throw new Error(`read ${read} bytes`)
      })
      await containerd.content.delete({ digest })
      return median(took)
    },
  },
  {
    name: 'read a blob of 64 MiB, 32 KiB at a time',
    async measure({ containerd }) {
      const piece = 32 * 1024
      const digest = await put(containerd, randomBytes(8 * mebibyte))
      const took = await times(3, async () => {
        for (let offset = 0; offset < 8 * mebibyte; offset += piece)
          for await (const _ of containerd.content.read({ digest, offset, size: piece }));
      })
      await containerd.content.delete({ digest })
      return median(took) * 8
    },
  },
  {
    name: 'write blobs of 4 KiB, 8 at once (each)',
    async measure({ containerd, raw }) {
      const blobs = Array.from({ length: 800 }, () => randomBytes(4096))
      const digests = blobs.map(digestOf)
      const bodies = blobs.map((blob, n) => [...writeRequests(`small-${serial++}`, blob, 1, digests[n] ?? '')])
      const started = performance.now()
      await atOnce(8, blobs.length, async (n) => {
        await raw.call('/containerd.services.content.v1.Content/Write', containerd.namespace, bodies[n] ?? [])
      })
      const took = performance.now() - started
      await atOnce(8, blobs.length, async (n) => void (await containerd.content.delete({ digest: digests[n] ?? '' })))
      return took / blobs.length
    },
  },
  {
    name: 'create and delete a lease',
    async measure({ containerd }) {
      return median(
        await times(300, async () => {
          const id = `l${serial++}`
          await containerd.leases.create({ id })
          await containerd.leases.delete({ id })
        }),
      )
    },
  },
  {
    name: 'collect, 10,000 objects kept',
    async measure({ containerd }) {
      await createLeases(containerd, 10_000, new Date(Date.now() + 3_600_000))
      const took = median(await times(7, () => collect(containerd)))
      await removeLeases(containerd)
      return took
    },
  },
  {
    name: 'collect, 10,000 objects removed',
    async measure({ containerd }) {
      // They expire together when all are there.
      const expiry = new Date(Date.now() + 25_000)
      await createLeases(containerd, 10_000, expiry)
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, expiry.getTime() - Date.now() + 1000)))
      const started = performance.now()
      await collect(containerd)
      return performance.now() - started
    },
  },
]

/** What a client sends that writes the same piece so many times. */
function* writeRequests(ref: string, piece: Buffer, count: number, expected: string): Iterable<Buffer> {
  for (let n = 0; n < count; n++) {
    const action = n === count - 1 ? WriteAction.COMMIT : WriteAction.WRITE
    const labels = { 'containerd.io/gc.root': 'bench' }
    const request = { action, ref, total: piece.length * count, expected, offset: n * piece.length, data: piece, labels }
    yield framed(WriteContentRequest.encode(WriteContentRequest.fromPartial(request)).finish())
  }
}

async function createLeases(containerd: Containerd, count: number, expiry: Date): Promise<void> {
  const labels = { 'containerd.io/gc.expire': expiry.toISOString() }
  await atOnce(32, count, async (n) => void (await containerd.leases.create({ id: `many-${n}`, labels })))
}

async function removeLeases(containerd: Containerd): Promise<void> {
  const { leases } = await containerd.leases.list({ filters: ['id~=^many-'] })
  await atOnce(32, leases.length, async (n) => void (await containerd.leases.delete({ id: leases[n]?.id ?? '' })))
}

/** A collection that somebody waits for. */
async function collect(containerd: Containerd): Promise<void> {
  const { lease } = await containerd.leases.create({})
  await containerd.leases.delete({ id: lease?.id ?? '', sync: true })
}
