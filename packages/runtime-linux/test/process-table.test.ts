import { expect, test } from 'vitest'
import { createProcessTable } from '../src/process-table.js'

const nowhere = { stdin: '', stdout: '', stderr: '', terminal: false }
const exit = (pid: number, exitStatus: number) => ({ pid, exitStatus, exitedAt: { seconds: 1, nanos: 0 } })
const never = new AbortController().signal

test('an exit that comes before the answer with the pid is kept for it, and no other', async () => {
  const table = createProcessTable('c')
  table.add('x', nowhere)
  const waiting = table.wait('x', never)
  // Of an earlier process of that name.
  expect(table.exited('x', exit(7, 1))).toBe(false)
  table.exited('x', exit(8, 2))
  expect(table.state('x')).toMatchObject({ status: 'created', pid: 0 })
  table.started('x', 8)
  expect(table.state('x')).toMatchObject({ id: 'x', status: 'stopped', pid: 8, exitStatus: 2 })
  expect(await waiting).toMatchObject({ pid: 8, exitStatus: 2 })
  expect(table.exited('x', exit(8, 3))).toBe(false)
})

test('a process of a paused container is paused, one that has ended is not', () => {
  const table = createProcessTable('c')
  for (const [execId, pid] of [
    ['', 1],
    ['runs', 2],
    ['ended', 3],
  ] as const) {
    table.add(execId, nowhere)
    table.started(execId, pid)
  }
  table.exited('ended', exit(3, 0))
  table.setPaused(true)
  expect(['', 'runs', 'ended'].map((execId) => table.state(execId)?.status)).toEqual(['paused', 'paused', 'stopped'])
  table.setPaused(false)
  expect(table.state('')?.status).toBe('running')
  expect(table.living().map(({ execId }) => execId)).toEqual(['', 'runs'])
})

test('whoever waits hears of the removal, of the end of everything, and of nothing after giving up', async () => {
  const table = createProcessTable('c')
  table.add('x', nowhere)
  table.add('y', nowhere)
  const giveUp = new AbortController()
  const [removed, failed, gaveUp] = [table.wait('x', never), table.wait('y', never), table.wait('y', giveUp.signal)]
  giveUp.abort()
  await expect(gaveUp).rejects.toMatchObject({ code: 'Canceled' })
  table.remove('x', exit(0, 0))
  expect(await removed).toMatchObject({ exitStatus: 0 })
  expect(table.wait('x', never)).toBeUndefined()
  table.fail(new Error('the daemon stops'))
  await expect(failed).rejects.toThrow('the daemon stops')
  await expect(table.wait('y', never)).rejects.toThrow('the daemon stops')
})
