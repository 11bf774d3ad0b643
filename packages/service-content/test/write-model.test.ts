import { createHash } from 'node:crypto'
import {
  WriteAction,
  WriteContentRequest,
  type WriteContentResponse,
} from '@containerd-ts/api/containerd/services/content/v1/content'
import { background, errorCode } from '@containerd-ts/interface'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Fixture, openService } from './fixture.js'

const ctx = background('n')
const { STAT, WRITE, COMMIT } = WriteAction

type Message = Parameters<typeof WriteContentRequest.fromPartial>[0]
type Outcome = { code: string } | { offset: number; digest: string } | 'ended'

function digestOf(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`
}

/** A client's stream: messages go in one at a time, each is answered or ends the stream. */
class Stream {
  #give: (message: IteratorResult<WriteContentRequest>) => void = () => {}
  #asked = this.#next()
  readonly #responses: AsyncIterator<WriteContentResponse>

  constructor(fixture: Fixture) {
    const requests = { [Symbol.asyncIterator]: () => ({ next: () => this.#asked }) }
    this.#responses = fixture.service.write(ctx, requests)[Symbol.asyncIterator]()
  }

  #next(): Promise<IteratorResult<WriteContentRequest>> {
    return new Promise((resolve) => {
      this.#give = resolve
    })
  }

  async #exchange(message: IteratorResult<WriteContentRequest>): Promise<Outcome> {
    const answer = this.#responses.next()
    const give = this.#give
    this.#asked = this.#next()
    give(message)
    try {
      const { done, value } = await answer
      return done ? 'ended' : { offset: value.offset, digest: value.digest }
    } catch (error) {
      return { code: errorCode(error) ?? 'Unknown' }
    }
  }

  send(message: Message): Promise<Outcome> {
    return this.#exchange({ done: false, value: WriteContentRequest.fromPartial(message) })
  }

  halfClose(): Promise<Outcome> {
    return this.#exchange({ done: true, value: undefined })
  }

  /** Lets the server see that an accepted commit is the end. */
  async drain(): Promise<void> {
    expect((await this.#responses.next()).done).toBe(true)
  }
}

interface Ingest {
  bytes: Buffer
  total: number
}

/** The rules of containerd's write sessions, kept in memory. */
class WriteModel {
  readonly ingests = new Map<string, Ingest>()
  readonly committed = new Set<string>()
  readonly open = new Map<string, { total: number; expected: string; ingest: Ingest }>()

  send(ref: string, message: Message): Outcome {
    const { action = STAT, offset = 0, data = Buffer.alloc(0), total = 0, expected = '' } = message
    let session = this.open.get(ref)
    if (session === undefined) {
      if (expected !== '' && this.committed.has(expected)) return { code: 'AlreadyExists' }
      const found = this.ingests.get(ref)
      const restarts = found === undefined || (total !== 0 && found.total !== 0 && total !== found.total)
      const ingest = restarts ? { bytes: Buffer.alloc(0), total } : found
      this.ingests.set(ref, ingest)
      session = { total, expected, ingest }
      this.open.set(ref, session)
    } else {
      if (total !== 0) session.total = total
      if (expected !== '') session.expected = expected
      if (expected !== '' && this.committed.has(expected)) {
        this.open.delete(ref)
        this.ingests.delete(ref)
        return { code: 'AlreadyExists' }
      }
    }
    const { ingest } = session
    const answer = () => ({ offset: ingest.bytes.length, digest: digestOf(ingest.bytes) })
    if (action === STAT) return answer()
    if (offset === 0) ingest.bytes = Buffer.alloc(0)
    else if (offset !== ingest.bytes.length) {
      this.open.delete(ref)
      return { code: 'OutOfRange' }
    }
    ingest.bytes = Buffer.concat([ingest.bytes, data as Uint8Array])
    if (action === WRITE) return answer()
    this.open.delete(ref)
    const { digest, offset: size } = answer()
    if (session.total !== 0 && session.total !== size) return { code: 'FailedPrecondition' }
    if (session.expected !== '' && session.expected !== digest) return { code: 'FailedPrecondition' }
    this.ingests.delete(ref)
    if (this.committed.has(digest)) return { code: 'AlreadyExists' }
    this.committed.add(digest)
    return { offset: size, digest }
  }
}

const refs = ['a', 'b']
const data = fc.constantFrom('', 'x', 'xy', 'yyy')
const steps = fc.array(
  fc.record({
    ref: fc.constantFrom(...refs),
    what: fc.constantFrom(
      'stat',
      'write',
      'write',
      'rewrite',
      'astray',
      'commit',
      'commit',
      'recommit',
      'end',
      'abort',
      'delete',
      'restart',
    ),
    data,
    total: fc.constantFrom(0, 0, 0, 1, 2, 3),
    // A guess at what it may come to.
    expected: fc.constantFrom('', '', '', 'x', 'xy', 'xx', 'yyy'),
  }),
  { minLength: 1, maxLength: 25 },
)

it('sessions go as the model of them does, whatever clients send', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      let fixture = await openService()
      try {
        const model = new WriteModel()
        const streams = new Map<string, Stream>()
        const endAll = async () => {
          for (const [ref, stream] of streams) {
            expect(await stream.halfClose()).toBe('ended')
            streams.delete(ref)
            model.open.delete(ref)
          }
        }
        for (const { ref, what, data: text, total, expected } of sequence) {
          const at = model.open.get(ref)?.ingest.bytes.length ?? model.ingests.get(ref)?.bytes.length ?? 0
          const digest = expected === '' ? '' : digestOf(Buffer.from(expected))
          const send = async (message: Message) => {
            const full = { ref, total, expected: digest, ...message }
            const stream = streams.get(ref) ?? new Stream(fixture)
            streams.set(ref, stream)
            const outcome = await stream.send(full)
            expect(outcome).toEqual(model.send(ref, full))
            if (model.open.has(ref)) return
            streams.delete(ref)
            if (typeof outcome === 'object' && 'offset' in outcome) await stream.drain()
          }
          if (what === 'stat') await send({ action: STAT })
          else if (what === 'write') await send({ action: WRITE, offset: at, data: Buffer.from(text) })
          else if (what === 'rewrite') await send({ action: WRITE, offset: 0, data: Buffer.from(text) })
          else if (what === 'astray') await send({ action: WRITE, offset: at + 7, data: Buffer.from(text) })
          else if (what === 'commit') await send({ action: COMMIT, offset: at, data: Buffer.from(text) })
          else if (what === 'recommit') await send({ action: COMMIT, offset: 0, data: Buffer.from(text) })
          else if (what === 'end') await endAll()
          else if (what === 'abort' && !streams.has(ref)) {
            const outcome = await fixture.service.abort(ctx, { ref }).then(() => true, errorCode)
            expect(outcome).toBe(model.ingests.delete(ref) ? true : 'NotFound')
          } else if (what === 'delete') {
            const gone = digestOf(Buffer.from(expected))
            const outcome = await fixture.service.delete(ctx, { digest: gone }).then(() => true, errorCode)
            expect(outcome).toBe(model.committed.delete(gone) ? true : 'NotFound')
          } else if (what === 'restart') {
            await endAll()
            fixture = await fixture.restart()
          }
          if (streams.has(ref) && what !== 'end') {
            const other = await new Stream(fixture).send({ ref, action: STAT })
            expect(other).toEqual({ code: 'Unavailable' })
          }
        }
        const { statuses } = await fixture.service.listStatuses(ctx, { filters: [] })
        const left = [...model.ingests].map(([ref, { bytes, total }]) => `${ref} ${bytes.length} ${total}`)
        expect(statuses.map(({ ref, offset, total }) => `${ref} ${offset} ${total}`).sort()).toEqual(left.sort())
        const found: string[] = []
        for await (const batch of fixture.service.list(ctx, { filters: [] }))
          found.push(...batch.info.map(({ digest }) => digest))
        expect(found.sort()).toEqual([...model.committed].sort())
        await endAll()
      } finally {
        await fixture.close()
      }
    }),
    { numRuns: 100 },
  )
})
