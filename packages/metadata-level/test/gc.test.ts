import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Database, type Transaction } from '../src/database.js'
import { Dirty } from '../src/dirty.js'
import { collectMetadata } from '../src/gc/collect.js'
import { splitKey } from '../src/key.js'
import { Pace } from '../src/pace.js'
import { containers, contents, images, ingests, leases, namespaces, resources, snapshots } from '../src/tables.js'
import { survivors, type World } from './gc-model.js'

const stamp = { seconds: 0, nanos: 0 }
const nowMs = Date.parse('2030-06-01T00:00:00Z')
const never = new AbortController().signal
const tables = [namespaces, leases, resources, images, containers, contents, snapshots, ingests]
const collected = [leases, images, contents, snapshots, ingests] as const

let root = ''
let database: Database

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'gc-'))
  database = await Database.open(root, { sync: false }, tables)
})

afterEach(async () => {
  await database.close()
  await rm(root, { recursive: true })
})

function clear(tx: Transaction): void {
  for (const table of tables) for (const { id } of tx.list<unknown>(table)) tx.delete<unknown>(table, ...id)
}

function write(tx: Transaction, ns: string, world: World): void {
  for (const { id, labels, resources: listed } of world.leases) {
    tx.put(leases, [ns, id], { labels, createdAt: stamp })
    for (const resource of listed) tx.put(resources, [ns, id, resource.type, resource.id], true)
  }
  for (const { name, target, labels } of world.images) {
    const descriptor = { mediaType: 'm', digest: target, sizeBytes: 1, annotations: {} }
    tx.put(images, [ns, name], { labels, target: descriptor, createdAt: stamp, updatedAt: stamp })
  }
  for (const { id, snapshotKey, labels } of world.containers) {
    const rest = { image: '', runtime: { name: 'r' }, extensions: {}, sandbox: '', createdAt: stamp, updatedAt: stamp }
    tx.put(containers, [ns, id], { id, labels, snapshotter: 's', snapshotKey, ...rest })
  }
  for (const { digest, labels } of world.contents)
    tx.put(contents, [ns, digest], { sizeBytes: 1, labels, createdAt: stamp, updatedAt: stamp })
  for (const { key, parent, labels } of world.snapshots) {
    tx.put(snapshots, [ns, 's', key], { backend: key, parent, labels, createdAt: stamp, updatedAt: stamp })
  }
  for (const { ref, ...rest } of world.ingests) tx.put(ingests, [ns, ref], { backend: ref, ...rest })
}

function remaining(ns: string): string[] {
  const lists = [...collected, containers].flatMap((table) =>
    database.list<unknown>(table, ns).map(({ id }) => `${table.name} ${id.at(-1)}`),
  )
  return lists.sort()
}

const collect = (pace?: Pace) => collectMetadata(database, new Dirty([]), nowMs, never, pace)

const ids = ['0', '1', '2', '3', '4', '5']
const id = fc.constantFrom(...ids)
const times = fc.constantFrom(
  '2030-05-31T23:59:59Z',
  '2030-06-01T00:00:01Z',
  '2030-06-01T00:00:00.5+01:00',
  'not a time',
  '2030-05-31',
)
const reference = fc.tuple(
  fc.constantFrom('ref', 'bref'),
  fc.constantFrom(
    'content',
    'content.x',
    'content/y',
    'contentX',
    'image',
    'image.a',
    'snapshot.s',
    'snapshot.s/x',
    'snapshot.t',
    'container',
    'container/x',
    'snapshot',
  ),
  id,
)
const labels = fc
  .record({
    references: fc.array(reference, { maxLength: 3 }),
    root: fc.option(fc.constantFrom('', '/x', '.y'), { freq: 8 }),
    expire: fc.option(times, { freq: 3 }),
  })
  .map((made) => ({
    ...Object.fromEntries(made.references.map(([kind, type, value]) => [`containerd.io/gc.${kind}.${type}`, value])),
    ...(made.root !== null && { [`containerd.io/gc.root${made.root}`]: '1' }),
    ...(made.expire !== null && isRfc3339(made.expire) && { 'containerd.io/gc.expire': made.expire }),
  }))
// What is no RFC 3339 time is tested on its own: the model reads times more freely.
const isRfc3339 = (text: string) => text.includes('T')

function unique<T>(arbitrary: fc.Arbitrary<T>, key: (value: T) => string): fc.Arbitrary<T[]> {
  return fc.uniqueArray(arbitrary, { selector: key, maxLength: ids.length })
}

const worlds: fc.Arbitrary<World> = fc.record({
  nowMs: fc.constant(nowMs),
  leases: unique(
    fc.record({
      id,
      labels: fc.tuple(fc.boolean(), fc.option(times)).map(([flat, time]) => ({
        ...(flat && { 'containerd.io/gc.flat': '1' }),
        ...(time !== null && isRfc3339(time) && { 'containerd.io/gc.expire': time }),
      })),
      resources: fc.array(fc.record({ type: fc.constantFrom('content', 'images', 'snapshots/s', 'ingests'), id }), {
        maxLength: 3,
      }),
    }),
    (lease) => lease.id,
  ),
  images: unique(fc.record({ name: id, target: id, labels }), (image) => image.name),
  containers: unique(fc.record({ id, snapshotKey: fc.constantFrom('', ...ids), labels }), (container) => container.id),
  contents: unique(fc.record({ digest: id, labels }), (content) => content.digest),
  snapshots: unique(fc.record({ key: id, parent: fc.constantFrom('', ...ids), labels }), (snapshot) => snapshot.key),
  ingests: unique(
    fc.record({ ref: id, expiresAtMs: fc.constantFrom(nowMs - 1, nowMs + 1), expected: id }, { requiredKeys: ['ref'] }),
    (ingest) => ingest.ref,
  ),
})

describe('a collection', () => {
  it('keeps exactly what the model keeps, in each namespace', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, worlds, async (one, two) => {
        await database.update((tx) => {
          clear(tx)
          write(tx, 'one', one)
          write(tx, 'two', two)
        })
        const before = remaining('one').length + remaining('two').length
        const { removed } = await collect()
        expect(remaining('one')).toEqual(survivors(one))
        expect(remaining('two')).toEqual(survivors(two))
        expect(before - removed.length).toBe(remaining('one').length + remaining('two').length)
        // A second one finds nothing more, and no lease that is gone lists anything.
        expect((await collect()).removed).toEqual([])
        for (const { id } of database.list(resources)) expect(database.get(leases, id[0] ?? '', id[1] ?? '')).toBeDefined()
      }),
      { numRuns: 400 },
    )
  })

  it('misses nothing that is moved or made while it looks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(11), fc.nat(11), fc.nat(5), fc.nat(3)), { minLength: 5, maxLength: 40 }),
        async (moves) => {
          // Images are roots that hold contents by labels; every move takes one over to another image, makes or deletes things.
          const held = new Map<string, string>()
          const putImage = (tx: Transaction, name: string) => {
            const refs = [...held]
              .filter(([, image]) => image === name)
              .map(([digest]) => [`containerd.io/gc.ref.content.${digest}`, digest])
            const target = { mediaType: 'm', digest: 'none', sizeBytes: 1, annotations: {} }
            tx.put(images, ['n', name], { labels: Object.fromEntries(refs), target, createdAt: stamp, updatedAt: stamp })
          }
          const putContent = (tx: Transaction, digest: string) =>
            tx.put(contents, ['n', digest], { sizeBytes: 1, labels: {}, createdAt: stamp, updatedAt: stamp })
          await database.update((tx) => {
            clear(tx)
            for (let n = 0; n < 12; n++) {
              putContent(tx, `c${n}`)
              putContent(tx, `garbage${n}`)
              held.set(`c${n}`, `i${n % 6}`)
            }
            for (let n = 0; n < 6; n++) putImage(tx, `i${n}`)
          })
          const running = collect(new Pace(0))
          for (const [content, made, to, pause] of moves) {
            for (let n = 0; n < pause; n++) await new Promise((resolve) => setImmediate(resolve))
            const from = held.get(`c${content}`)
            // Not awaited: the next move and the collection see it before it is on disk.
            void database.update((tx) => {
              held.set(`c${content}`, `i${to}`)
              if (made > 5) {
                putContent(tx, `new${made}`)
                held.set(`new${made}`, `i${to}`)
              }
              putImage(tx, `i${to}`)
              if (from !== undefined) putImage(tx, from)
            })
          }
          const { removed } = await running
          await database.update(() => {})
          for (const digest of held.keys()) expect(database.get(contents, 'n', digest), digest).toBeDefined()
          expect(removed.length).toBe(12)
        },
      ),
      { numRuns: 100 },
    )
  })

  it('leaves nothing behind, at any moment, whose references lead nowhere', async () => {
    // A forest: everything refers to things with greater numbers only, by labels, as target or as parent.
    const forest = fc.array(fc.record({ kind: fc.constantFrom('content', 'snapshot', 'image'), refs: fc.array(fc.nat(30)) }), {
      minLength: 2,
      maxLength: 30,
    })
    await fc.assert(
      fc.asyncProperty(forest, async (objects) => {
        const key = (n: number) => (objects[n]?.kind === 'snapshot' ? `snapshot.s/${n}` : `${objects[n]?.kind}.${n}`)
        await database.update((tx) => {
          clear(tx)
          for (const [n, { kind, refs }] of objects.entries()) {
            const later = refs.map((ref) => n + 1 + ref).filter((ref) => ref < objects.length)
            const labels = Object.fromEntries(later.map((ref) => [`containerd.io/gc.ref.${key(ref)}`, String(ref)]))
            const stamps = { createdAt: stamp, updatedAt: stamp }
            if (kind === 'content') tx.put(contents, ['n', String(n)], { sizeBytes: 1, labels, ...stamps })
            else if (kind === 'snapshot') tx.put(snapshots, ['n', 's', String(n)], { backend: '', parent: '', labels, ...stamps })
            else {
              const target = { mediaType: 'm', digest: 'none', sizeBytes: 1, annotations: {} }
              tx.put(images, ['n', String(n)], {
                labels: { ...labels, 'containerd.io/gc.expire': '2030-05-31T00:00:00Z' },
                target,
                ...stamps,
              })
            }
          }
        })
        const present = new Set(objects.keys())
        const numberOf = (removed: string) => Number(splitKey(removed).at(-1))
        const stop = database.onChange(({ deleted }) => {
          for (const removed of deleted) present.delete(numberOf(removed))
          for (const n of present)
            for (const ref of objects[n]?.refs ?? [])
              if (n + 1 + ref < objects.length) expect(present.has(n + 1 + ref), `${n} refers to ${n + 1 + ref}`).toBe(true)
        })
        await collect(new Pace(0))
        stop()
        expect(present.size).toBe(0)
      }),
      { numRuns: 50 },
    )
  })

  it('does not remove what was deleted and made again, nor count it', async () => {
    await database.update((tx) => {
      for (let n = 0; n < 50; n++)
        tx.put(contents, ['n', `c${n}`], { sizeBytes: 1, labels: {}, createdAt: stamp, updatedAt: stamp })
    })
    const running = collect(new Pace(0))
    await new Promise((resolve) => setImmediate(resolve))
    // Not awaited: a collection of so little would be over.
    void database.update((tx) => tx.delete(contents, 'n', 'c1'))
    void database.update((tx) => tx.delete(contents, 'n', 'c2'))
    void database.update((tx) => tx.put(contents, ['n', 'c2'], { sizeBytes: 2, labels: {}, createdAt: stamp, updatedAt: stamp }))
    expect((await running).stats.removed.content).toBe(48)
    expect(remaining('n')).toEqual(['content c2'])
  })

  it('takes what is no RFC 3339 time for no expiry', async () => {
    await database.update((tx) => {
      for (const time of ['2030-05-31', '31 May 2030', '2030-05-31T00:00:00', '2030-05-31 00:00:00Z', '']) {
        tx.put(leases, ['n', time], { labels: { 'containerd.io/gc.expire': time }, createdAt: stamp })
      }
      tx.put(leases, ['n', 'over'], { labels: { 'containerd.io/gc.expire': '2030-05-31T00:00:00.123456789Z' }, createdAt: stamp })
    })
    expect((await collect()).removed).toEqual([{ namespace: 'n', table: 'lease', id: ['over'] }])
  })

  it('keeps by conditions on when a snapshot was used', async () => {
    const usedAt = 'containerd.io/gc.cond.value-usedat'
    const at = (hours: number) => ({ [usedAt]: new Date(nowMs - hours * 3_600_000).toISOString() })
    const condition = (value: string) => ({ 'containerd.io/gc.cond.snapshot.s/x': value })
    await database.update((tx) => {
      const snapshot = (key: string, labels: Record<string, string>) =>
        tx.put(snapshots, ['n', 's', key], { backend: key, parent: '', labels, createdAt: stamp, updatedAt: stamp })
      const content = (digest: string, value: string) =>
        tx.put(contents, ['n', digest], { sizeBytes: 1, labels: condition(value), createdAt: stamp, updatedAt: stamp })
      const kept = { 'containerd.io/gc.root': '1' }
      snapshot('fresh', { ...at(1), ...kept })
      snapshot('old', { ...at(100), ...kept })
      snapshot('garbage', at(1))
      snapshot('unused', kept)
      content('fresh, wanted fresh', 'usedat<24h|fresh')
      content('fresh, wanted old', 'usedat>24h|fresh')
      content('old, wanted fresh', 'usedat<24h|old')
      content('old, wanted old', 'usedat>1h30m|old')
      content('old, either', 'usedat<24h,usedat>48h|old')
      content('of garbage', 'usedat<24h|garbage')
      content('of never used', 'usedat<24h|unused')
      content('malformed', 'usedat=24h|fresh')
    })
    await collect()
    const kept = ['content fresh, wanted fresh', 'content old, either', 'content old, wanted old']
    expect(remaining('n').filter((name) => name.startsWith('content'))).toEqual(kept)
  })

  it('tells of what it removed by namespace, and in it by kind', async () => {
    const expire = { 'containerd.io/gc.expire': '2030-05-31T00:00:00Z' }
    const world = (): World => ({
      nowMs,
      leases: [{ id: 'l', labels: expire, resources: [{ type: 'content', id: 'c' }] }],
      images: [{ name: 'i', target: 'c', labels: expire }],
      containers: [],
      contents: [{ digest: 'c', labels: {} }],
      snapshots: [{ key: 'k', parent: '', labels: {} }],
      ingests: [{ ref: 'r' }],
    })
    await database.update((tx) => {
      write(tx, 'b', world())
      write(tx, 'A', world())
    })
    const { removed, stats } = await collect()
    const kinds = ['lease', 'snapshot', 'ingest', 'content', 'image']
    expect(removed.map(({ namespace, table }) => `${namespace} ${table}`)).toEqual(
      ['A', 'b'].flatMap((ns) => kinds.map((kind) => `${ns} ${kind}`)),
    )
    expect(stats.removed).toEqual({ content: 2, snapshots: 2, leases: 2, ingests: 2, images: 2 })
    expect(database.list(resources)).toEqual([])
  })
})
