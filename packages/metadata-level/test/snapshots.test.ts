import { rm } from 'node:fs/promises'
import { background, isAlreadyExists, isNotFound } from '@containerd-ts/interface'
import { describe, expect, it } from 'vitest'
import { fakeSnapshotter } from './fake-snapshotter.js'
import { openFixture } from './fixture.js'

const ctx = background('n')
const leased = background('n', { lease: 'l' })
const ref = 'containerd.io/snapshot.ref'

async function open(existing?: ReadonlySet<string>) {
  const fake = fakeSnapshotter(existing)
  const fixture = await openFixture({ snapshotters: new Map([['fake', fake.snapshotter]]) })
  const view = fixture.metadata.snapshotters.get('fake')
  if (view === undefined) throw new Error('no view')
  return { ...fixture, ...fake, view }
}

const failure = (operation: Promise<unknown>) => operation.then(() => undefined).catch((error: unknown) => error as Error)

describe('a namespaced snapshotter', () => {
  it('keeps namespaces apart and gives every snapshot a backend name of its own', async () => {
    const { view, infos, close } = await open()
    const labels = { 'containerd.io/snapshot/x': '1', other: '2' }
    await view.prepare(ctx, 'k', '', { labels })
    await view.prepare(background('m'), 'k', '')
    await view.remove(ctx, 'k')
    await view.prepare(ctx, 'k', '', { labels })
    expect([...infos.keys()]).toEqual(['n/1/k', 'm/2/k', 'n/3/k'])
    // The backend hears only of labels that are meant for it.
    expect(infos.get('n/3/k')?.labels).toEqual({ 'containerd.io/snapshot/x': '1' })
    expect((await view.stat(ctx, 'k')).labels).toEqual(labels)
    await close()
  })

  it('numbers on after a restart', async () => {
    const { view, infos, metadata, open: reopen, close } = await open()
    await view.prepare(ctx, 'a', '')
    await metadata.close()
    const again = await reopen()
    await again.snapshotters.get('fake')?.prepare(ctx, 'b', '')
    const numbers = [...infos.keys()].map((name) => Number(name.split('/')[1]))
    expect(numbers[1]).toBeGreaterThan(numbers[0] ?? 0)
    await again.close()
    await close().catch(() => {})
  })

  it('moves the lease from key to name, and leases what exists already', async () => {
    const { view, metadata, close } = await open()
    const resources = async () => (await metadata.leases.listResources(ctx, 'l')).map(({ type, id }) => `${type} ${id}`)
    expect((await failure(view.prepare(leased, 'k', '')))?.message).toBe('lease does not exist: not found')
    expect(isNotFound(await failure(view.stat(ctx, 'k')))).toBe(true)
    await metadata.leases.create(ctx, { id: 'l', labels: {} })
    await view.prepare(leased, 'k', '')
    expect(await resources()).toEqual(['snapshots/fake k'])
    await view.commit(leased, 'name', 'k')
    expect(await resources()).toEqual(['snapshots/fake name'])
    await view.remove(leased, 'name')
    expect(await resources()).toEqual([])

    await view.prepare(ctx, 'k', '')
    await view.commit(ctx, 'name', 'k')
    await view.prepare(ctx, 'k', 'name')
    expect((await failure(view.prepare(leased, 'k', '')))?.message).toBe('snapshot "k": already exists')
    expect((await failure(view.commit(leased, 'name', 'k')))?.message).toBe('snapshot "name": already exists')
    expect((await failure(view.prepare(leased, 'x', '', { labels: { [ref]: 'name' } })))?.message).toBe(
      'target snapshot "name": already exists',
    )
    expect(await resources()).toEqual(['snapshots/fake k', 'snapshots/fake name'])
    await close()
  })

  it('adopts what the backend has under a reference', async () => {
    const { view, metadata, close } = await open(new Set(['chain']))
    await metadata.leases.create(ctx, { id: 'l', labels: {} })
    const error = await failure(view.prepare(leased, 'extract', '', { labels: { [ref]: 'chain' } }))
    expect(isAlreadyExists(error)).toBe(true)
    const { kind, name, parent } = await view.stat(ctx, 'chain')
    expect({ kind, name, parent }).toEqual({ kind: 'committed', name: 'chain', parent: '' })
    expect(await metadata.leases.listResources(ctx, 'l')).toEqual([{ type: 'snapshots/fake', id: 'chain' }])
    expect(isNotFound(await failure(view.stat(ctx, 'extract')))).toBe(true)
    await close()
  })

  it('rebases at commit and drops the labels of the active snapshot', async () => {
    const { view, infos, close } = await open()
    await view.prepare(ctx, 'a', '')
    await view.commit(ctx, 'base', 'a')
    await view.prepare(ctx, 'b', '', { labels: { gone: '1' } })
    await view.commit(ctx, 'top', 'b', { parent: 'base', labels: { kept: '2' } })
    const { parent, labels } = await view.stat(ctx, 'top')
    expect({ parent, labels }).toEqual({ parent: 'base', labels: { kept: '2' } })
    expect([...infos.values()].map((info) => info.parent)).toEqual(['', 'n/2/base'])
    await close()
  })

  it('ends a commit that was interrupted behind the backend, or before it', async () => {
    for (const made of [true, false]) {
      const fake = fakeSnapshotter()
      const dying = {
        ...fake.snapshotter,
        commit: async (...args: Parameters<typeof fake.snapshotter.commit>) => {
          if (made) await fake.snapshotter.commit(...args)
          // The daemon is killed here: nobody hears of it.
          return new Promise<never>(() => {})
        },
      }
      const fixture = await openFixture({ snapshotters: new Map([['s', dying]]) })
      await fixture.metadata.leases.create(ctx, { id: 'l', labels: {} })
      const labels = { 'containerd.io/gc.root': 'x' }
      await fixture.metadata.snapshotters.get('s')?.prepare(leased, 'active', '')
      void fixture.metadata.snapshotters.get('s')?.commit(leased, 'committed', 'active', { labels })
      await new Promise((resolve) => setTimeout(resolve, 20))
      // Sweeps keep their hands off.
      await fixture.metadata.collectGarbage(ctx.signal)
      expect(fake.infos.size).toBe(1)
      await fixture.metadata.close()

      const metadata = await fixture.open()
      const view = metadata.snapshotters.get('s')
      const [there, gone] = made ? ['committed', 'active'] : ['active', 'committed']
      expect((await view?.stat(ctx, there))?.labels).toEqual(made ? labels : {})
      expect(isNotFound(await failure(view?.stat(ctx, gone) ?? Promise.resolve()))).toBe(true)
      expect(await metadata.leases.listResources(ctx, 'l')).toEqual([{ type: 'snapshots/s', id: there }])
      await metadata.close()
      await fixture.content.close()
      await rm(fixture.root, { recursive: true })
    }
  })

  it('leaves out of lists what the backend has lost', async () => {
    const { view, infos, close } = await open()
    await view.prepare(ctx, 'a', '')
    await view.prepare(ctx, 'b', '')
    infos.delete('n/1/a')
    const names: string[] = []
    for await (const { name } of view.walk(ctx, [])) names.push(name)
    expect(names).toEqual(['b'])
    await close()
  })

  it('gives removed snapshots up at the collection, children first', async () => {
    const { view, infos, cleanups, metadata, close } = await open()
    const root = { labels: { 'containerd.io/gc.root': 'x' } }
    await view.prepare(ctx, 'a', '', root)
    await view.commit(ctx, 'base', 'a', root)
    await view.prepare(ctx, 'b', 'base', root)
    await view.commit(ctx, 'middle', 'b', root)
    await view.prepare(ctx, 'top', 'middle', root)
    await view.remove(ctx, 'top')
    await view.remove(ctx, 'middle')
    expect(infos.size).toBe(3)
    await metadata.collectGarbage(ctx.signal)
    expect([...infos.keys()]).toEqual(['n/2/base'])
    expect(cleanups()).toBe(1)
    // A parent whose child was collected, not removed, can be removed.
    await view.prepare(ctx, 'unkept', 'base')
    await metadata.collectGarbage(ctx.signal)
    await view.remove(ctx, 'base')
    await close()
  })
})
