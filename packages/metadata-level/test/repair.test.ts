import { createHash } from 'node:crypto'
import { readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { background, type Context, type SnapshotInfo } from '@containerd-ts/interface'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Evidence } from '../src/evidence.js'
import { compareWithEvidence, inspectMetadata, repairDatabase } from '../src/maintenance.js'
import { fakeSnapshotter } from './fake-snapshotter.js'
import { openFixture } from './fixture.js'

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`
const ctx = background('k8s.io')

let fixture: Awaited<ReturnType<typeof openFixture>>
let infos: Map<string, SnapshotInfo>
beforeEach(async () => {
  const fake = fakeSnapshotter()
  infos = fake.infos
  fixture = await openFixture({ snapshotters: new Map([['s', fake.snapshotter]]) })
})
afterEach(() => fixture.close().catch(() => {}))

async function put(text: string, labels: Record<string, string> = {}, where: Context = ctx): Promise<string> {
  const writer = await fixture.metadata.content.writer(where, { ref: text })
  await writer.write(Buffer.from(text))
  return (await writer.commit(where, { labels })).digest
}

async function evidence(altered: string[] = []): Promise<Evidence> {
  const blobs = new Map<string, number>()
  for await (const { digest, sizeBytes } of fixture.content.walk(background(), [])) blobs.set(digest, sizeBytes)
  return {
    blobs,
    altered: new Set(altered),
    snapshots: new Map([['s', [...infos.values()]]]),
    async readBlob(digest) {
      const reader = await fixture.content.reader(background(), digest)
      const bytes = Buffer.alloc(reader.sizeBytes)
      await reader.read(bytes, 0)
      await reader.close()
      return bytes
    },
  }
}

/** An image with a layer, unpacked, and a container's snapshot on it. */
async function image(snapshotter = fixture.metadata.snapshotters.get('s')) {
  const layer = await put('layer')
  const diffId = digestOf('uncompressed layer')
  await snapshotter?.prepare(ctx, 'extract', '')
  await snapshotter?.commit(ctx, diffId, 'extract')
  await snapshotter?.prepare(ctx, 'container', diffId)
  const config = await put(JSON.stringify({ rootfs: { type: 'layers', diff_ids: [diffId] } }), {
    'containerd.io/gc.ref.snapshot.s': diffId,
  })
  const manifest = await put(JSON.stringify({ config: { digest: config }, layers: [{ digest: layer }] }), {
    'containerd.io/gc.ref.content.config': config,
    'containerd.io/gc.ref.content.l.0': layer,
  })
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const { sizeBytes } = await fixture.metadata.content.info(ctx, manifest)
  await fixture.metadata.images.create(ctx, {
    name: 'i',
    labels: {},
    target: { mediaType, digest: manifest, sizeBytes, annotations: {} },
  })
  return { layer, config, manifest, diffId }
}

const path = () => join(fixture.root, 'meta')

async function reopened() {
  const metadata = await fixture.open()
  return metadata
}

describe('a repair', () => {
  it('rebuilds from the stores what they prove, when nothing of the database is left', async () => {
    const { layer, config, manifest, diffId } = await image()
    const loose = await put('loose')
    await fixture.metadata.close()
    await rename(path(), `${path()}.gone`)
    await (await fixture.open()).close()
    const { added, records } = await repairDatabase(path(), await inspectMetadata(path()), await evidence(), {
      namespace: 'default',
    })
    expect(added).toEqual({ namespaces: 2, content: 4, images: 1, snapshots: 2 })
    expect(records).toBe(10)

    const metadata = await reopened()
    await metadata.collectGarbage(ctx.signal)
    const digests = async (namespace: string) => {
      const found: string[] = []
      for await (const { digest } of metadata.content.walk(background(namespace), [])) found.push(digest)
      return found.sort()
    }
    // The image belongs where its snapshot is, the rest has no owner.
    expect(await digests('k8s.io')).toEqual([layer, config, manifest].sort())
    expect(await digests('default')).toEqual([loose])
    expect((await metadata.images.get(ctx, `recovered@${manifest}`)).target.digest).toBe(manifest)
    const snapshots = metadata.snapshotters.get('s')
    expect((await snapshots?.stat(ctx, 'container'))?.parent).toBe(diffId)
    expect((await metadata.content.info(ctx, config)).labels).toEqual({ 'containerd.io/gc.ref.snapshot.s': diffId })
    // Numbers go on where they were.
    await snapshots?.prepare(ctx, 'another', diffId)
    expect(infos.size).toBe(3)
    await metadata.close()
  })

  it('keeps what can be read, leaves out what the stores contradict, and keeps the old database', async () => {
    const { layer, manifest } = await image()
    const altered = await put('altered', { 'containerd.io/gc.root': 'yes' })
    await fixture.metadata.close()
    await fixture.content.delete(background(), layer)
    infos.delete('k8s.io/3/container')
    const inspection = await inspectMetadata(path())
    const found = await evidence([altered])
    const damage = compareWithEvidence(inspection, found).filter(({ severity }) => severity === 'damage')
    expect(damage.map(({ text }) => text).sort()).toEqual(
      [
        `content ${layer} of namespace k8s.io is missing on disk`,
        `content ${altered} of namespace k8s.io was altered on disk: its bytes are not what the digest says`,
        'snapshot container of s in namespace k8s.io is missing on disk',
      ].sort(),
    )
    const { added, lost, keptAt } = await repairDatabase(path(), inspection, found, { namespace: 'default' })
    expect(added).toEqual({ namespaces: 0, content: 0, images: 0, snapshots: 0 })
    expect(lost).toHaveLength(3)
    expect((await readdir(keptAt)).length).toBeGreaterThan(2)
    const metadata = await reopened()
    expect((await metadata.images.get(ctx, 'i')).target.digest).toBe(manifest)
    // The layer can be fetched again now.
    await (await metadata.content.writer(ctx, { ref: 'again', expected: layer })).close()
    await metadata.close()
  })

  it('finds nothing in a database that is as it should be, and goes on when it was interrupted', async () => {
    await image()
    await fixture.metadata.close()
    expect(compareWithEvidence(await inspectMetadata(path()), await evidence())).toEqual([])
    // Both names at once are not possible: this is what a crash between them leaves.
    await rename(path(), `${path()}.repaired`)
    const metadata = await reopened()
    expect((await metadata.images.get(ctx, 'i')).name).toBe('i')
    await metadata.close()
  })
})
