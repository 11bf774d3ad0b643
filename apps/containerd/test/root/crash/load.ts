import { createHash } from 'node:crypto'
import { hasStatus } from '@containerd-ts/client'
import { background, type Context, isUnavailable } from '@containerd-ts/interface'
import { status } from '@grpc/grpc-js'
import type { Stores } from '../../stores.js'
import type { Model } from './model.js'

// What keeps an object that nothing else refers to.
const root = { 'containerd.io/gc.root': 'crash test' }

/** Numbers that are the same for the same seed. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((state / 2_147_483_648) * below)
  }
}

/** The bytes of a blob, which its label tells. */
export function bytesOf(text: string): Buffer {
  return Buffer.from(text.repeat(1 + (text.length % 7) * 400))
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/**
 * A client that makes, changes and deletes objects of every kind until the daemon is gone. Only its own: what others do must not matter.
 *
 * @throws what the daemon answers other than by going away
 */
export async function useUntilKilled(
  client: number,
  stores: Stores,
  model: Model,
  random: (below: number) => number,
  isKilled: () => boolean,
): Promise<void> {
  const namespace = `n${client % 3}`
  const ctx = background(namespace)
  const name = (n: number) => `c${client}-${n}`
  let turn = 0
  const fresh = () => `${client}.${turn++}.${random(1_000_000)}`
  const operations = [container, image, lease, blob, leasedBlob, layer, ingest, label, collect]
  try {
    while (!isKilled()) await operations[random(operations.length)]?.()
  } catch (error) {
    if (!isKilled()) throw error
    // A connection that breaks.
    if (!isUnavailable(error) && !hasStatus(error, status.UNAVAILABLE) && !hasStatus(error, status.CANCELLED)) throw error
  }

  async function container(): Promise<void> {
    const id = name(random(6))
    const key = `container ${namespace} ${id}`
    const before = model.get(key)
    const text = fresh()
    const record = {
      id,
      labels: { text },
      image: '',
      runtime: { name: 'none' },
      snapshotter: '',
      snapshotKey: '',
      extensions: {},
      sandbox: '',
      spec: { typeUrl: 'x', value: Buffer.alloc(random(8000), 'x') },
    }
    if (before === undefined) await model.change({ [key]: text }, () => stores.containers.create(ctx, record))
    else if (random(3) > 0)
      await model.change({ [key]: text }, () => stores.containers.update(ctx, record, ['labels.text', 'spec']))
    else await model.change({ [key]: undefined }, () => stores.containers.delete(ctx, id))
  }

  async function image(): Promise<void> {
    const id = name(random(6))
    const key = `image ${namespace} ${id}`
    const text = fresh()
    const target = { mediaType: 'x', digest: digestOf(Buffer.from(text)), sizeBytes: 1, annotations: {} }
    if (model.get(key) === undefined)
      await model.change({ [key]: text }, () => stores.images.create(ctx, { name: id, labels: { text }, target }))
    else if (random(2) > 0)
      await model.change({ [key]: text }, () => stores.images.update(ctx, { name: id, labels: { text }, target }, []))
    else await model.change({ [key]: undefined }, () => stores.images.delete(ctx, id))
  }

  async function lease(): Promise<void> {
    const id = name(random(4))
    const key = `lease ${namespace} ${id}`
    const before = model.get(key)
    if (before === undefined) await model.change({ [key]: '' }, () => stores.leases.create(ctx, { id, labels: {} }))
    else if (random(3) > 0) {
      const resource = `image-${fresh()}`
      const resources = [...before.split(' ').filter((part) => part !== ''), resource].sort().join(' ')
      await model.change({ [key]: resources }, () => stores.leases.addResource(ctx, id, { type: 'images', id: resource }))
    } else await model.change({ [key]: undefined }, () => stores.leases.delete(ctx, id))
  }

  async function write(where: Context, ref: string, text: string, labels: Record<string, string>): Promise<void> {
    const bytes = bytesOf(text)
    const writer = await stores.content.writer(where, { ref, total: bytes.length, expected: digestOf(bytes) })
    try {
      await writer.write(bytes)
      await writer.commit(where, { sizeBytes: bytes.length, expected: digestOf(bytes), labels })
    } finally {
      await writer.close()
    }
  }

  /** One blob at a time in each place; a new one takes the place of the old. */
  async function blob(): Promise<void> {
    const place = `blob place ${namespace} ${name(random(5))}`
    const before = places.get(place)
    if (before !== undefined && model.get(`content ${namespace} ${digestOf(bytesOf(before))}`) !== undefined) {
      const digest = digestOf(bytesOf(before))
      await model.change({ [`content ${namespace} ${digest}`]: undefined }, () => stores.content.delete(ctx, digest))
    }
    const text = fresh()
    places.set(place, text)
    await model.change({ [`content ${namespace} ${digestOf(bytesOf(text))}`]: text }, () =>
      write(ctx, `blob ${text}`, text, { text, ...root }),
    )
  }

  /** Kept by a lease alone, which must be as durable as the blob. */
  async function leasedBlob(): Promise<void> {
    const id = `holding-${client}`
    const key = `lease ${namespace} ${id}`
    const held = model.get(key)
    if (held === undefined) {
      await model.change({ [key]: '' }, () => stores.leases.create(ctx, { id, labels: {} }))
      return
    }
    if (held.split(' ').length > 6) {
      // With the lease goes what it keeps, sooner or later.
      const gone = held.split(' ').map((digest) => [`content ${namespace} ${digest}`, undefined] as const)
      await model.change({ [key]: undefined, ...Object.fromEntries(gone) }, () => stores.leases.delete(ctx, id))
      await stores.collect()
      return
    }
    const text = fresh()
    const digest = digestOf(bytesOf(text))
    const resources = [...held.split(' ').filter((part) => part !== ''), digest].sort().join(' ')
    await model.change({ [key]: resources, [`content ${namespace} ${digest}`]: text }, () =>
      write({ ...ctx, lease: id }, `leased ${text}`, text, { text }),
    )
  }

  /** A snapshot is prepared, committed and removed, with others on top of it. */
  async function layer(): Promise<void> {
    const [snapshotter, view] = stores.snapshotters[client % stores.snapshotters.length] ?? fail('no snapshotter')
    const n = random(4)
    const state = (what: string) => `snapshot ${namespace} ${snapshotter} ${what}`
    const [active, committed, child] = [`active ${name(n)}`, `committed ${name(n)}`, `child ${name(n)}`]
    if (model.get(state(child)) !== undefined) {
      await model.change({ [state(child)]: undefined }, () => view.remove(ctx, child))
      await model.change({ [state(committed)]: undefined }, () => view.remove(ctx, committed))
    } else if (model.get(state(committed)) !== undefined)
      await model.change({ [state(child)]: `view of ${committed}` }, () => view.view(ctx, child, committed, { labels: root }))
    else if (model.get(state(active)) !== undefined)
      await model.change({ [state(active)]: undefined, [state(committed)]: 'committed of ' }, () =>
        view.commit(ctx, committed, active, { labels: root }),
      )
    else await model.change({ [state(active)]: 'active of ' }, () => view.prepare(ctx, active, '', { labels: root }))
  }

  /** What was acknowledged of an unfinished write is still there; more may be. */
  async function ingest(): Promise<void> {
    const ref = `unfinished ${name(random(3))}`
    const key = `ingest ${namespace} ${ref}`
    if (model.get(key) !== undefined && random(3) === 0) {
      await model.change({ [key]: undefined }, () => stores.content.abort(ctx, ref))
      return
    }
    const writer = await model.change({ [key]: model.get(key) ?? '0' }, () => stores.content.writer(ctx, { ref }))
    try {
      const { offset } = writer.status()
      const length = 1 + random(100_000)
      await model.change({ [key]: String(offset + length) }, () => writer.write(Buffer.alloc(length, 'i')))
    } finally {
      await writer.close()
    }
  }

  async function label(): Promise<void> {
    const own = `own-${client}`
    const text = fresh()
    await model.change({ [`namespace ${own}`]: text }, () =>
      stores.namespaces.update(background(), { name: own, labels: { text } }, ['labels.text']),
    )
  }

  async function collect(): Promise<void> {
    if (random(4) === 0) await stores.collect()
  }
}

const places = new Map<string, string>()

function fail(message: string): never {
  throw new Error(message)
}
