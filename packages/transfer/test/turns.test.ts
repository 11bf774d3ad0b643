import { expect, test } from 'vitest'
import { createKeyedTurns, createTurns } from '../src/turns.js'

const never = new AbortController().signal
const tick = () => new Promise((resolve) => setImmediate(resolve))

/** Work that is ended from outside. */
function work(running: Set<string>, name: string) {
  let end = () => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  return {
    end: () => end(),
    run: async () => {
      running.add(name)
      await ended
      running.delete(name)
      return name
    },
  }
}

test('no more than so many run, in the order in which they came, and who gives up leaves the place to the next', async () => {
  const running = new Set<string>()
  const turns = createTurns(2)
  const jobs = ['a', 'b', 'c', 'd', 'e'].map((name) => work(running, name))
  const [a, b, c, d, e] = jobs
  const controller = new AbortController()
  const results = jobs.map((job) => turns(job === c ? controller.signal : never, job.run))
  await tick()
  expect([...running]).toEqual(['a', 'b'])
  controller.abort(new Error('enough'))
  await expect(results[2]).rejects.toThrow('enough')
  a?.end()
  await tick()
  expect([...running]).toEqual(['b', 'd'])
  b?.end()
  d?.end()
  await tick()
  expect([...running]).toEqual(['e'])
  e?.end()
  expect(await Promise.all([results[0], results[1], results[3], results[4]])).toEqual(['a', 'b', 'd', 'e'])
  await expect(turns(never, () => Promise.reject(new Error('failed')))).rejects.toThrow('failed')
  expect(await Promise.all([turns(never, async () => 1), turns(never, async () => 2), turns(never, async () => 3)])).toEqual([
    1, 2, 3,
  ])
})

test('a place that comes at the moment of giving up is not lost', async () => {
  const turns = createTurns(1)
  const first = work(new Set(), 'first')
  const controller = new AbortController()
  const running = turns(never, first.run)
  const waiting = turns(controller.signal, async () => 'never')
  waiting.catch(() => {})
  first.end()
  await running
  controller.abort(new Error('enough'))
  await Promise.allSettled([waiting])
  expect(await turns(never, async () => 'next')).toBe('next')
})

test('one at a time for each key, also when one that waits gives up, or one that runs fails', async () => {
  const running = new Set<string>()
  const turns = createKeyedTurns()
  const [a, b, c, other] = ['a', 'b', 'c', 'other'].map((name) => work(running, name))
  const controller = new AbortController()
  const first = turns('key', never, async () => {
    await a?.run()
    throw new Error('failed')
  })
  const second = turns('key', controller.signal, b?.run ?? tick)
  const third = turns('key', never, c?.run ?? tick)
  const elsewhere = turns('other', never, other?.run ?? tick)
  controller.abort(new Error('enough'))
  await expect(second).rejects.toThrow('enough')
  await tick()
  expect([...running]).toEqual(['a', 'other'])
  a?.end()
  await expect(first).rejects.toThrow('failed')
  await tick()
  expect([...running]).toEqual(['other', 'c'])
  c?.end()
  other?.end()
  expect(await Promise.all([third, elsewhere])).toEqual(['c', 'other'])
})
