import { now, type Timestamp, timestampFromMs } from '@containerd-ts/api'
import { type Container, NotFoundError, type TaskState, type TaskStatus } from '@containerd-ts/interface'
import { silentLogger } from '@containerd-ts/plugin'
import { afterEach, expect, test, vi } from 'vitest'
import { createRestartMonitor, type RestartMonitor, type RestartMonitorOptions } from '../src/monitor.js'
import { restartLabels } from '../src/policy.js'

const longAgo = timestampFromMs(Date.now() - 60_000)
const exit = { pid: 1, exitStatus: 0, exitedAt: longAgo }
const running = { [restartLabels.status]: 'running' }

function container(id: string, labels: Record<string, string>, updatedAt: Timestamp = longAgo): Container {
  const times = { createdAt: longAgo, updatedAt }
  return {
    id,
    labels,
    image: '',
    runtime: { name: 'r' },
    snapshotter: '',
    snapshotKey: '',
    extensions: {},
    sandbox: '',
    ...times,
  }
}

let monitor: RestartMonitor | undefined
afterEach(() => monitor?.close())

/** Watches one namespace of these containers over a runtime that remembers what it is told. */
function watch(
  records: readonly Container[],
  tasks: Record<string, TaskStatus>,
  runtime: Partial<RestartMonitorOptions['runtime']> = {},
) {
  const calls: string[] = []
  const log = vi.fn()
  const note = (what: string) => calls.push(what)
  const containers = {
    list: async function* () {
      yield* records
    },
    update: async (_ctx: unknown, record: { id: string }, paths: readonly string[]) => {
      note(`update ${record.id} ${paths}`)
      return records[0]
    },
  }
  const state = async (_ctx: unknown, id: string): Promise<TaskState> => {
    const status = tasks[id]
    if (status === undefined) throw new NotFoundError(id)
    return { containerId: id, id, pid: 1, status, exitStatus: 1, stdin: '', stdout: '', stderr: '', terminal: false }
  }
  const metadata = { namespaces: { list: async () => [{ name: 'n', labels: {} }] }, containers, snapshotters: new Map() }
  monitor = createRestartMonitor({
    metadata: metadata as unknown as RestartMonitorOptions['metadata'],
    runtime: {
      state,
      create: async (_ctx, { containerId }) => note(`create ${containerId}`),
      start: async (_ctx, id) => {
        tasks[id] = 'running'
        return note(`start ${id}`)
      },
      kill: async (_ctx, id) => void note(`kill ${id}`),
      wait: async () => exit,
      delete: async (_ctx, id) => {
        delete tasks[id]
        note(`delete ${id}`)
        return exit
      },
      ...runtime,
    },
    log: { ...silentLogger, warn: log },
    intervalMs: 5,
  })
  return { calls, log }
}

test('a task that has ended is replaced, once', async () => {
  const { calls } = watch([container('a', running)], { a: 'stopped' })
  await expect.poll(() => calls).toContain('start a')
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(calls).toEqual(['update a labels.containerd.io/restart.count', 'delete a', 'create a', 'start a'])
})

test('a client that has just made a container is not forestalled', async () => {
  const { calls } = watch([container('new', running, now()), container('made', running, now()), container('old', running)], {
    made: 'created',
  })
  await expect.poll(() => calls).toContain('start old')
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(calls.filter((call) => !call.includes('old'))).toEqual([])
})

test('one that hangs keeps no other from being restarted, and is tried again when it fails', async () => {
  let attempts = 0
  const hang = new Promise<never>(() => {})
  const { calls, log } = watch(
    [container('hangs', running), container('fails', running), container('works', running)],
    { hangs: 'stopped', fails: 'stopped', works: 'stopped' },
    {
      create: (ctx, { containerId }) => {
        calls.push(`create ${containerId}`)
        if (containerId === 'fails' && ++attempts < 3) return Promise.reject(new Error('no'))
        if (containerId !== 'hangs') return Promise.resolve(1)
        // As long as the daemon goes on.
        return Promise.race([hang, new Promise<number>((resolve) => ctx.signal.addEventListener('abort', () => resolve(1)))])
      },
    },
  )
  await expect.poll(() => calls).toContain('start works')
  await expect.poll(() => calls).toContain('start fails')
  expect(calls.filter((call) => call === 'create hangs').length).toBe(1)
  expect(log).toHaveBeenCalledWith('cannot have a container as its labels say', expect.objectContaining({ container: 'fails' }))
})

test('a task that goes while it is being stopped harms nothing', async () => {
  const stopped = { [restartLabels.status]: 'stopped' }
  const { calls, log } = watch(
    [container('gone', stopped)],
    { gone: 'running' },
    {
      wait: async () => {
        throw new NotFoundError('gone')
      },
      kill: async (_ctx, id) => {
        calls.push(`kill ${id}`)
        await new Promise((resolve) => setTimeout(resolve, 20))
      },
    },
  )
  await expect.poll(() => log.mock.calls.length).toBeGreaterThan(0)
  expect(calls).toContain('kill gone')
})
