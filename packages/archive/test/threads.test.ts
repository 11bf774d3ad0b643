import { Worker } from 'node:worker_threads'
import { expect, test, vi } from 'vitest'
import { createThreads } from '../src/threads.js'

const echo = `require('node:worker_threads').parentPort.on('message', () => require('node:worker_threads').parentPort.postMessage({ type: 'removed' }))`

test('a thread that was started ahead does the next job, and ends when there is none', async () => {
  const exited = vi.fn()
  const start = vi.fn(() => new Worker(echo, { eval: true }).once('exit', exited))
  const threads = createThreads<object>({ start, max: 2, idleMs: 200 })
  threads.warm()
  threads.warm()
  expect(start).toHaveBeenCalledTimes(1)
  expect(await threads.run({}, undefined, () => {})).toEqual({ type: 'removed' })
  expect(start).toHaveBeenCalledTimes(1)
  await expect.poll(() => exited.mock.calls.length).toBe(1)
  await threads.run({}, undefined, () => {})
  expect(start).toHaveBeenCalledTimes(2)
  await threads.close()
  threads.warm()
  expect(start).toHaveBeenCalledTimes(2)
})
