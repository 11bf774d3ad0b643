import { createHash } from 'node:crypto'
import {
  background,
  type ContentStore,
  type Context,
  hasCode,
  isAlreadyExists,
  isFailedPrecondition,
  isNotFound,
} from '@containerd-ts/interface'
import { describe, expect, it } from 'vitest'
import { openFixture } from './fixture.js'

const one = background('one')
const two = background('two')
const bytes = Buffer.from('some bytes')
const digest = digestOf(bytes)

function digestOf(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`
}

async function put(store: ContentStore, ctx: Context, data: Uint8Array = bytes, ref = 'put'): Promise<string> {
  const writer = await store.writer(ctx, { ref })
  await writer.write(data)
  return (await writer.commit(ctx, {})).digest
}

const failure = (operation: Promise<unknown>) => operation.then(() => undefined).catch((error: unknown) => error as Error)

describe('content of another namespace', () => {
  it('is there at once for a writer that knows its digest, and copied by nobody', async () => {
    const { metadata, content, close } = await openFixture()
    await put(metadata.content, one)
    expect(isNotFound(await failure(metadata.content.info(two, digest)))).toBe(true)
    const writer = await metadata.content.writer(two, { ref: 'r', expected: digest, total: bytes.length })
    expect([writer.status().offset, writer.digest()]).toEqual([bytes.length, digest])
    // An ingest without bytes of its own is not shown.
    expect(await metadata.content.listStatuses(two, [])).toEqual([])
    expect(isNotFound(await failure(metadata.content.status(two, 'r')))).toBe(true)
    expect(await content.listStatuses(background(), [])).toEqual([])
    const info = await writer.commit(two, { sizeBytes: bytes.length, expected: digest, labels: { mine: 'yes' } })
    expect(info.labels).toEqual({ mine: 'yes' })
    expect((await metadata.content.info(one, digest)).labels).toEqual({})
    await metadata.content.delete(one, digest)
    await metadata.collectGarbage(one.signal)
    // Without anything to keep it, it went from both.
    expect(isNotFound(await failure(metadata.content.info(two, digest)))).toBe(true)
    await close()
  })

  it('can be appended to or replaced and stays as it is', async () => {
    const { metadata, close } = await openFixture()
    await put(metadata.content, one)
    const appending = await metadata.content.writer(two, { ref: 'append', expected: digest })
    await appending.write(Buffer.from(' and more'))
    expect(appending.status().offset).toBe(bytes.length + 9)
    expect((await appending.commit(two, {})).digest).toBe(digestOf(Buffer.from('some bytes and more')))
    const replacing = await metadata.content.writer(two, { ref: 'replace', expected: digest })
    await replacing.truncate()
    expect(replacing.status().offset).toBe(0)
    await replacing.write(Buffer.from('other'))
    expect((await replacing.commit(two, {})).digest).toBe(digestOf(Buffer.from('other')))
    expect((await metadata.content.info(one, digest)).sizeBytes).toBe(bytes.length)
    await close()
  })

  it('survives a collection while a writer begins from it, even when its owner deletes it', async () => {
    const { metadata, content, close } = await openFixture()
    await put(metadata.content, one)
    const writer = await metadata.content.writer(two, { ref: 'r', expected: digest })
    await metadata.content.delete(one, digest)
    await metadata.collectGarbage(one.signal)
    await writer.commit(two, {})
    expect((await content.info(background(), digest)).sizeBytes).toBe(bytes.length)
    await close()
  })

  it('is not shared when size or digest differ', async () => {
    const { metadata, close } = await openFixture()
    await put(metadata.content, one)
    const other = await metadata.content.writer(two, { ref: 'size', expected: digest, total: bytes.length + 1 })
    expect(other.status().offset).toBe(0)
    await other.close()
    const writer = await metadata.content.writer(two, { ref: 'digest', expected: digest })
    expect(isFailedPrecondition(await failure(writer.commit(two, { expected: digestOf(Buffer.from('x')) })))).toBe(true)
    const again = await metadata.content.writer(two, { ref: 'digest', expected: digest })
    expect((await failure(again.commit(two, { sizeBytes: 5 })))?.message).toBe(
      `"digest" failed size validation: ${bytes.length} != 5: failed precondition`,
    )
    await close()
  })

  it('must be sent under the isolated policy, except from namespaces that offer it', async () => {
    const { metadata, content, close } = await openFixture({ contentSharingPolicy: 'isolated' })
    await put(metadata.content, one)
    const writer = await metadata.content.writer(two, { ref: 'r', expected: digest })
    expect(writer.status().offset).toBe(0)
    await writer.write(bytes)
    await writer.commit(two, { expected: digest })
    expect(await content.listStatuses(background(), [])).toEqual([])
    await metadata.namespaces.update(one, { name: 'one', labels: { 'containerd.io/namespace.shareable': 'true' } }, [])
    const shared = await metadata.content.writer(background('three'), { ref: 'r', expected: digest })
    expect(shared.status().offset).toBe(bytes.length)
    await shared.close()
    await close()
  })
})

describe('leases of content', () => {
  const leased = background('one', { lease: 'l' })

  it('keep what is written under them, and what was there already', async () => {
    const { metadata, close } = await openFixture()
    expect((await failure(metadata.content.writer(leased, { ref: 'r' })))?.message).toBe('lease does not exist: not found')
    await metadata.leases.create(one, { id: 'l', labels: {} })
    const resources = () => metadata.leases.listResources(one, 'l')
    const writer = await metadata.content.writer(leased, { ref: 'r' })
    expect(await resources()).toEqual([{ type: 'ingests', id: 'r' }])
    await writer.write(bytes)
    await writer.commit(leased, {})
    expect(await resources()).toEqual([{ type: 'content', id: digest }])
    await metadata.content.delete(leased, digest)
    expect(await resources()).toEqual([])

    await put(metadata.content, one)
    expect(isAlreadyExists(await failure(metadata.content.writer(leased, { ref: 'r', expected: digest })))).toBe(true)
    expect(await resources()).toEqual([{ type: 'content', id: digest }])
    await metadata.leases.deleteResource(one, 'l', { type: 'content', id: digest })
    const second = await metadata.content.writer(leased, { ref: 'r' })
    await second.write(bytes)
    expect(isAlreadyExists(await failure(second.commit(leased, { labels: { a: 'b' } })))).toBe(true)
    expect(await resources()).toEqual([{ type: 'content', id: digest }])
    await close()
  })

  it('that vanish make the commit fail, and nothing is left in the backend', async () => {
    const { metadata, content, close } = await openFixture()
    await metadata.leases.create(one, { id: 'l', labels: {} })
    const writer = await metadata.content.writer(leased, { ref: 'r' })
    await writer.write(bytes)
    await metadata.leases.delete(one, 'l')
    expect((await failure(writer.commit(leased, {})))?.message).toBe('lease does not exist: not found')
    expect(isNotFound(await failure(metadata.content.info(one, digest)))).toBe(true)
    await metadata.collectGarbage(one.signal)
    expect(isNotFound(await failure(content.info(background(), digest)))).toBe(true)
    await close()
  })

  it('of an unfinished write keep its bytes; without one it expires after a day', async () => {
    let nowMs = Date.now()
    const { metadata, content, close } = await openFixture({ nowMs: () => nowMs })
    await metadata.leases.create(one, { id: 'l', labels: {} })
    for (const [ctx, ref] of [
      [leased, 'leased'],
      [one, 'free'],
    ] as const) {
      const writer = await metadata.content.writer(ctx, { ref })
      await writer.write(bytes)
      await writer.close()
    }
    const refs = async () => (await metadata.content.listStatuses(one, [])).map(({ ref }) => ref).sort()
    await metadata.collectGarbage(one.signal)
    expect(await refs()).toEqual(['free', 'leased'])
    nowMs += 25 * 3_600_000
    await metadata.collectGarbage(one.signal)
    expect(await refs()).toEqual(['leased'])
    await metadata.leases.delete(one, 'l')
    await metadata.collectGarbage(one.signal)
    expect(await refs()).toEqual([])
    expect(await content.listStatuses(background(), [])).toEqual([])
    await close()
  })
})

describe('a namespaced write', () => {
  it('is locked per namespace', async () => {
    const { metadata, close } = await openFixture()
    const first = await metadata.content.writer(one, { ref: 'r' })
    const second = await metadata.content.writer(two, { ref: 'r' })
    const error = await failure(metadata.content.writer(one, { ref: 'r' }))
    expect(hasCode(error, 'Unavailable')).toBe(true)
    expect(error?.message).toMatch(/^ref one\/1\/r locked for .* \(since .*\): unavailable$/)
    await first.close()
    await second.close()
    await close()
  })

  it('announces what it made visible, and nothing else', async () => {
    const { metadata, events, close } = await openFixture()
    const seen = events.subscribe(background(), ['topic~="^/content"', 'topic=="/end"'])[Symbol.asyncIterator]()
    await put(metadata.content, one)
    await failure(put(metadata.content, one))
    await metadata.content.delete(one, digest)
    await events.publish(one, '/end', { typeUrl: '', value: new Uint8Array() })
    const topics: string[] = []
    for (let at = ''; at !== '/end'; topics.push(at)) at = (await seen.next()).value?.topic ?? '/end'
    expect(topics).toEqual(['/content/create', '/content/delete', '/end'])
    await close()
  })
})
