import type { CollectionStats, MetadataMutation, MetadataStore } from '@containerd-ts/interface'
import { silentLogger } from '@containerd-ts/plugin'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createScheduler, type SchedulerOptions } from '../src/index.js'

const stats: CollectionStats = { pauseMs: 1, totalMs: 2, removed: { content: 0, snapshots: 0, leases: 0, ingests: 0, images: 0 } }
const defaults: SchedulerOptions = {
  pauseThreshold: 0.02,
  deletionThreshold: 0,
  mutationThreshold: 100,
  scheduleDelayMs: 0,
  startupDelayMs: 0,
}

/** A store of which only collections and mutations are watched. */
function watched(collect: () => Promise<CollectionStats> = () => Promise.resolve(stats)) {
  let listener: (mutation: MetadataMutation) => void = () => {}
  const collectGarbage = vi.fn(collect)
  const onMutation: MetadataStore['onMutation'] = (given) => {
    listener = given
    return () => {}
  }
  const store = { collectGarbage, onMutation } as unknown as MetadataStore
  return { store, collectGarbage, mutate: (dirty: boolean) => listener({ dirty }) }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('a deletion is collected within a quarter of a second', async () => {
  const { store, collectGarbage, mutate } = watched()
  createScheduler(store, defaults, silentLogger)
  mutate(true)
  await vi.advanceTimersByTimeAsync(240)
  expect(collectGarbage).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(10)
  expect(collectGarbage).toHaveBeenCalledTimes(1)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(collectGarbage).toHaveBeenCalledTimes(1)
})

test('writes alone need to be many', async () => {
  const { store, collectGarbage, mutate } = watched()
  createScheduler(store, defaults, silentLogger)
  for (let i = 0; i < 99; i++) mutate(false)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(collectGarbage).not.toHaveBeenCalled()
  mutate(false)
  await vi.advanceTimersByTimeAsync(250)
  expect(collectGarbage).toHaveBeenCalledTimes(1)
})

test('the deletion threshold does not wait', async () => {
  const { store, collectGarbage, mutate } = watched()
  createScheduler(store, { ...defaults, deletionThreshold: 2 }, silentLogger)
  mutate(true)
  await vi.advanceTimersByTimeAsync(1)
  expect(collectGarbage).not.toHaveBeenCalled()
  mutate(true)
  await vi.advanceTimersByTimeAsync(1)
  expect(collectGarbage).toHaveBeenCalledTimes(1)
})

test('the first run after the start needs no reason', async () => {
  const { store, collectGarbage } = watched()
  createScheduler(store, { ...defaults, startupDelayMs: 100 }, silentLogger)
  await vi.advanceTimersByTimeAsync(100)
  expect(collectGarbage).toHaveBeenCalledTimes(1)
})

test('who asks during a run gets one that begins later, shared with the others', async () => {
  const ends: (() => void)[] = []
  const { store, collectGarbage } = watched(() => new Promise((resolve) => ends.push(() => resolve(stats))))
  const scheduler = createScheduler(store, defaults, silentLogger)
  const first = scheduler.collect()
  await vi.advanceTimersByTimeAsync(0)
  const [second, third] = [scheduler.collect(), scheduler.collect()]
  await vi.advanceTimersByTimeAsync(0)
  expect(collectGarbage).toHaveBeenCalledTimes(1)
  ends[0]?.()
  await first
  await vi.advanceTimersByTimeAsync(0)
  expect(collectGarbage).toHaveBeenCalledTimes(2)
  ends[1]?.()
  expect(await Promise.all([second, third])).toEqual([stats, stats])
})

test('a failed run is told and tried again', async () => {
  const { store, collectGarbage } = watched()
  collectGarbage.mockRejectedValueOnce(new Error('disk on fire'))
  const scheduler = createScheduler(store, defaults, silentLogger)
  await expect(scheduler.collect()).rejects.toMatchObject({ code: 'Unknown', message: 'gc failed' })
  await vi.advanceTimersByTimeAsync(1300)
  expect(collectGarbage).toHaveBeenCalledTimes(2)
})

test('closing aborts the run that is under way', async () => {
  const { store, collectGarbage } = watched()
  collectGarbage.mockImplementationOnce(
    (...args: unknown[]) =>
      new Promise((_, reject) => (args[0] as AbortSignal).addEventListener('abort', () => reject(new Error('aborted')))),
  )
  const scheduler = createScheduler(store, defaults, silentLogger)
  const run = scheduler.collect()
  run.catch(() => {})
  await vi.advanceTimersByTimeAsync(0)
  await scheduler.close()
  await expect(run).rejects.toThrow('gc failed')
})
