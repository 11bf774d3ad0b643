import { background, type ContentStore, isUnavailable, type Snapshotter } from '@containerd-ts/interface'
import { describe, expect, it } from 'vitest'
import { fakeSnapshotter } from './fake-snapshotter.js'
import { openFixture } from './fixture.js'

const ctx = background('n')

/** A method that never answers, and says whether it was asked. */
function silence() {
  let asked = 0
  const never = () => {
    asked++
    return new Promise<never>(() => {})
  }
  return { never, asked: () => asked }
}

async function put(store: ContentStore, ref: string): Promise<string> {
  const writer = await store.writer(ctx, { ref })
  await writer.write(Buffer.from(ref))
  return (await writer.commit(ctx, {})).digest
}

describe('a backend that does not answer', () => {
  for (const method of ['remove', 'walk', 'cleanup'] as const) {
    it(`keeps no collection and no other snapshotter waiting: ${method}`, async () => {
      const { never, asked } = silence()
      const [silent, other] = [fakeSnapshotter(), fakeSnapshotter()]
      const stubborn: Snapshotter = {
        ...silent.snapshotter,
        [method]: method === 'walk' ? () => ({ [Symbol.asyncIterator]: () => ({ next: never }) }) : never,
      }
      const { metadata, close } = await openFixture({
        snapshotters: new Map([
          ['silent', stubborn],
          ['other', other.snapshotter],
        ]),
        backendTimeoutMs: 50,
      })
      const views = [metadata.snapshotters.get('silent'), metadata.snapshotters.get('other')]
      for (const view of views) await view?.prepare(ctx, 'garbage', '')
      await metadata.collectGarbage(ctx.signal)
      expect(asked()).toBeGreaterThan(0)
      expect(other.infos.size).toBe(0)
      // It can be used meanwhile.
      await views[0]?.prepare(ctx, 'garbage', '')
      await metadata.collectGarbage(ctx.signal)
      await close()
    })
  }

  it('does not freeze the daemon when a client holds it', async () => {
    const { never } = silence()
    const fake = fakeSnapshotter()
    const { metadata, close } = await openFixture({
      snapshotters: new Map([['silent', { ...fake.snapshotter, prepare: never }]]),
      backendTimeoutMs: 50,
    })
    const view = metadata.snapshotters.get('silent')
    const waiting = view?.prepare(ctx, 'k', '')
    await metadata.collectGarbage(ctx.signal)
    await metadata.leases.create(ctx, { id: 'l', labels: {} })
    await metadata.collectGarbage(ctx.signal)
    await view?.view(ctx, 'v', '')
    expect(fake.infos.size).toBe(1)
    expect(await Promise.race([waiting, Promise.resolve('waiting')])).toBe('waiting')
    await close()
  })

  it('gets no blob back of which it has not said that it is deleted', async () => {
    const { content, close: closeFixture } = await openFixture()
    let release = () => {}
    const slow: ContentStore = {
      ...content,
      delete: async (...args) => {
        await new Promise<void>((resolve) => {
          release = resolve
        })
        await content.delete(...args)
      },
    }
    const { metadata, close } = await openFixture({ content: slow, backendTimeoutMs: 50 })
    const digest = await put(metadata.content, 'blob')
    await metadata.collectGarbage(ctx.signal)
    const refused = await put(metadata.content, 'blob').catch((error: unknown) => error)
    expect(isUnavailable(refused), String(refused)).toBe(true)
    release()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await put(metadata.content, 'blob')).toBe(digest)
    await close()
    await closeFixture()
  })
})
