import { background, type Explanation } from '@containerd-ts/interface'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fakeSnapshotter } from './fake-snapshotter.js'
import { openFixture } from './fixture.js'

const ctx = background('n')
let fixture: Awaited<ReturnType<typeof openFixture>>
beforeEach(async () => {
  fixture = await openFixture({ snapshotters: new Map([['s', fakeSnapshotter().snapshotter]]) })
})
afterEach(() => fixture.close())

async function put(text: string, labels: Record<string, string> = {}): Promise<string> {
  const writer = await fixture.metadata.content.writer(ctx, { ref: text })
  await writer.write(Buffer.from(text))
  return (await writer.commit(ctx, { labels })).digest
}

const words = ({ because }: Explanation) => because.map(({ by, how }) => (by === undefined ? how : `${how}: ${by.kind} ${by.id}`))

describe('an explanation', () => {
  it('goes from the object to a root, the shortest way, and lists what keeps it', async () => {
    const { metadata } = fixture
    const layer = await put('layer')
    const manifest = await put('manifest', { 'containerd.io/gc.ref.content.l.0': layer })
    const descriptor = { mediaType: 'm', digest: manifest, sizeBytes: 8, annotations: {} }
    await metadata.images.create(ctx, { name: 'docker.io/library/i', labels: {}, target: descriptor })
    await metadata.leases.create(ctx, { id: 'lease', labels: {} })
    await metadata.leases.addResource(ctx, 'lease', { type: 'content', id: manifest })
    const [explanation] = await metadata.explain({ namespace: 'n', id: layer })
    expect(explanation?.kept).toBe(true)
    expect(explanation && words(explanation)).toEqual([
      `containerd.io/gc.ref.content.l.0: content ${manifest}`,
      'listed: lease lease',
      'not expired',
    ])
    const [kept] = await metadata.explain({ namespace: 'n', id: manifest, kind: 'content' })
    expect(kept?.keepers.map(({ by, how }) => `${how} ${by?.kind}`).sort()).toEqual(['listed lease', 'target image'])
  })

  it('says what is not kept, what is not there, and finds every kind by its name', async () => {
    const { metadata } = fixture
    const orphan = await put('orphan')
    const snapshots = metadata.snapshotters.get('s')
    await snapshots?.prepare(ctx, 'same name', '', { labels: { 'containerd.io/gc.root': 'yes' } })
    await metadata.leases.create(ctx, { id: 'same name', labels: {} })
    expect(await metadata.explain({ namespace: 'n', id: orphan })).toMatchObject([{ exists: true, kept: false, because: [] }])
    expect(await metadata.explain({ namespace: 'n', id: 'nothing' })).toMatchObject([{ exists: false, kept: false }])
    const both = await metadata.explain({ namespace: 'n', id: 'same name' })
    expect(both.map(({ object: { kind }, because }) => [kind, because[0]?.how])).toEqual([
      ['lease', 'not expired'],
      ['snapshot', 'containerd.io/gc.root'],
    ])
  })

  it('of what a collection would do is what it does', async () => {
    const { metadata } = fixture
    const orphan = await put('orphan')
    await put('kept', { 'containerd.io/gc.root': 'yes' })
    const elsewhere = background('other')
    const shared = await metadata.content.writer(elsewhere, { ref: 'x' })
    await shared.write(Buffer.from('shared'))
    await shared.commit(elsewhere, { labels: { 'containerd.io/gc.root': 'yes' } })
    await put('shared').catch(() => {})
    await metadata.snapshotters.get('s')?.prepare(ctx, 'k', '')
    const preview = await metadata.preview(ctx.signal)
    expect(preview.map(({ object, sizeBytes }) => [object.namespace, object.kind, sizeBytes])).toEqual([
      ['n', 'snapshot', 'n/1/k'.length],
      ['n', 'content', expect.any(Number)],
      ['n', 'content', expect.any(Number)],
    ])
    expect(preview.find(({ object }) => object.id === orphan)?.sizeBytes).toBe(6)
    // Its bytes stay, as the other namespace has them.
    expect(preview.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBe(6 + 5)
    const { removed } = await metadata.collectGarbage(ctx.signal)
    expect(removed).toMatchObject({ content: 2, snapshots: 1 })
    expect(await metadata.preview(ctx.signal)).toEqual([])
  })
})
