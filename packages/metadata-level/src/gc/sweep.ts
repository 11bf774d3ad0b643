import { background, type ContentStore, hasCode, isNotFound, type Snapshotter } from '@containerd-ts/interface'
import type { Logger } from '@containerd-ts/plugin'
import type { CommittedView } from '../database.js'
import { withDeadline } from '../deadline.js'
import type { Dirty, Suspects } from '../dirty.js'
import type { Limbo } from '../limbo.js'
import { Pace } from '../pace.js'
import type { SharedLock } from '../shared-lock.js'
import { contents, ingests, namespaces, snapshots } from '../tables.js'

/** What a sweep works with. */
export interface SweepDeps {
  readonly view: CommittedView
  readonly dirty: Dirty
  readonly log: Logger
  /** Held by whoever changes the backend. A sweep takes it alone, a few milliseconds at a time. */
  readonly lock: SharedLock
  /** How long a backend, or somebody else who uses it, may take. */
  readonly deadlineMs: number
}

// For so long others wait while a backend is swept.
const sliceMs = 5
// Enough to keep the thread pool busy.
const parallel = 8

/**
 * Deletes the blobs and ingests among the suspects that no namespace names.
 *
 * @throws DeadlineExceededError when the backend does not answer. What it has not answered yet is in limbo.
 */
export async function sweepContent(deps: SweepDeps, backend: ContentStore, limbo: Limbo): Promise<void> {
  const { view, dirty, log, deadlineMs } = deps
  const ctx = background('', { log })
  const [blobs, writes] = [dirty.blobs.take(), dirty.ingests.take()]
  const owners = () => view.list(namespaces).map(({ id: [name = ''] }) => name)
  const isNamedBy = (names: readonly string[], digest: string) =>
    names.some((name) => view.get(contents, name, digest) !== undefined)

  const digests = blobs.all ? await unnamed() : [...blobs.names]
  const begunFrom = () => new Set([...view.scan(ingests)].map(({ record }) => record.expected))
  await inSlices(deps, 'the content store', digests, () => {
    const [names, begun] = [owners(), begunFrom()]
    return async (digest) => {
      if (begun.has(digest) || isNamedBy(names, digest)) return
      const removed = await attempt(log, { digest }, () =>
        withDeadline(`deletion of content ${digest}`, deadlineMs, () => limbo.hold(digest, backend.delete(ctx, digest))),
      )
      if (!removed) dirty.blobs.add(digest)
    }
  })

  const refs = writes.all
    ? (await withDeadline('listing of ingests', deadlineMs, () => backend.listStatuses(ctx, []))).map(({ ref }) => ref)
    : [...writes.names]
  await inSlices(deps, 'the content store', refs, () => {
    const recorded = new Set([...view.scan(ingests)].map(({ record }) => record.backend))
    return async (ref) => {
      if (recorded.has(ref)) return
      const removed = await attempt(log, { ref }, () =>
        withDeadline(`abort of ingest ${ref}`, deadlineMs, () => backend.abort(ctx, ref)),
      )
      if (!removed) dirty.ingests.add(ref)
    }
  })

  /** What the backend has and nobody names now. */
  async function unnamed(): Promise<string[]> {
    const found: string[] = []
    const names = owners()
    for await (const { digest } of answering('content store walk', deadlineMs, backend.walk(ctx, [])))
      if (!isNamedBy(names, digest)) found.push(digest)
    return found
  }
}

/**
 * Removes the snapshots among the suspects that no namespace names, children before parents.
 *
 * @throws DeadlineExceededError when the backend does not answer
 */
export async function sweepSnapshots(deps: SweepDeps, name: string, backend: Snapshotter): Promise<void> {
  const { view, dirty, log, deadlineMs } = deps
  const suspects = dirty.snapshots.get(name)?.take()
  if (suspects === undefined) return
  const ctx = background('', { log })
  const keys = suspects.all
    ? await allChildrenFirst(answering(`walk of snapshotter ${name}`, deadlineMs, backend.walk(ctx, [])))
    : childrenFirst(suspects)
  await inSlices(
    deps,
    `snapshotter ${name}`,
    keys,
    () => {
      const named = new Set<string>()
      for (const { id, record } of view.scan(snapshots)) {
        if (id[1] !== name) continue
        named.add(record.backend)
        if (record.committing !== undefined) named.add(record.committing.backend)
      }
      return async (key) => {
        if (named.has(key)) return
        const removed = await attempt(log, { snapshotter: name, key }, () =>
          withDeadline(`removal of snapshot ${key} from ${name}`, deadlineMs, () => backend.remove(ctx, key)),
        )
        if (!removed) dirty.addSnapshot(name, key)
      }
    },
    1,
  )
}

/**
 * Goes through items with the lock for a few milliseconds at a time, between which others have their turn. At the beginning of every
 * slice `prepare` looks at what has become of the rest.
 */
async function inSlices(
  { lock, deadlineMs }: SweepDeps,
  what: string,
  items: readonly string[],
  prepare: () => (item: string) => Promise<void>,
  width = parallel,
): Promise<void> {
  for (let at = 0; at < items.length; ) {
    const free = new AbortController()
    const slice = async () => {
      clearTimeout(timer)
      const handle = prepare()
      const hasTime = new Pace(sliceMs).slice()
      do {
        const group = items.slice(at, at + width)
        at += group.length
        await Promise.all(group.map(handle))
      } while (at < items.length && hasTime())
    }
    const timer = setTimeout(() => free.abort(new Error(`${what} is busy for more than ${deadlineMs / 1000} s`)), deadlineMs)
    try {
      await lock.exclusive(slice, free.signal)
    } finally {
      clearTimeout(timer)
    }
    // A backend may answer at once, all the time.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Waits for each item no longer than the deadline. @throws DeadlineExceededError */
async function* answering<T>(what: string, deadlineMs: number, items: AsyncIterable<T>): AsyncIterable<T> {
  const iterator = items[Symbol.asyncIterator]()
  try {
    for (;;) {
      const { done, value } = await withDeadline(what, deadlineMs, () => iterator.next())
      if (done) return
      yield value
    }
  } finally {
    // It may be what does not answer.
    void iterator.return?.()?.catch(() => {})
  }
}

/** Names are numbered, and children come later than their parents. */
function childrenFirst({ names }: Suspects): string[] {
  const numberOf = (key: string) => Number(/^[^/]*\/(\d+)\//.exec(key)?.[1] ?? 0)
  return [...names].sort((a, b) => numberOf(b) - numberOf(a))
}

async function allChildrenFirst(infos: AsyncIterable<{ name: string; parent: string }>): Promise<string[]> {
  const parents = new Map<string, string>()
  for await (const { name, parent } of infos) parents.set(name, parent)
  const depths = new Map<string, number>()
  for (const key of parents.keys()) {
    const path: string[] = []
    let at: string | undefined = key
    while (at !== undefined && at !== '' && !depths.has(at)) {
      path.push(at)
      at = parents.get(at)
    }
    let depth = depths.get(at ?? '') ?? 0
    for (const step of path.reverse()) depths.set(step, ++depth)
  }
  return [...parents.keys()].sort((a, b) => (depths.get(b) ?? 0) - (depths.get(a) ?? 0))
}

/**
 * One object that resists must not keep the rest: it is told, and false given back, to try it again another time.
 *
 * @throws DeadlineExceededError: a backend that does not answer is not asked any further.
 */
async function attempt(log: Logger, fields: Readonly<Record<string, string>>, remove: () => Promise<void>): Promise<boolean> {
  try {
    await remove()
    return true
  } catch (error) {
    if (isNotFound(error)) return true
    if (hasCode(error, 'DeadlineExceeded')) throw error
    log.warn('cannot remove garbage', { ...fields, error })
    return false
  }
}
