import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Containerd, connect } from '@containerd-ts/client'
import { restartLabels } from '@containerd-ts/restart-monitor'
import { eventually, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { busyboxRootfs, busyboxSpec, createRecord } from './bare-container.js'

// Containers with the labels of a restart policy. Needs root.
describe.runIf(process.getuid?.() === 0)('the restart monitor', () => {
  const namespace = `restart-${process.pid}`
  let dir: string
  let daemon: TestDaemon
  let containerd: Containerd
  let rootfs: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'restart-'))
    rootfs = await busyboxRootfs(join(dir, 'rootfs'))
    await start()
  })
  afterAll(async () => {
    containerd?.close()
    await daemon?.stop()
    await rm(dir, { recursive: true, force: true })
  })

  async function start(): Promise<void> {
    const config = `version = 2
[plugins."io.containerd.internal.v1.restart"]
  interval = "100ms"
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "${join(dir, 's')}"
`
    daemon = await startDaemon({ dir: join(dir, 'd'), config })
    containerd = connect(daemon.address, { namespace })
  }

  /** A container without a task, which the monitor makes. */
  async function create(id: string, args: readonly string[], labels: Record<string, string>): Promise<void> {
    const spec = busyboxSpec(args, `/${namespace}/${id}`) as { root: { path: string } }
    spec.root = { path: rootfs }
    await createRecord(containerd, { id, spec, labels })
  }
  const label = (id: string, labels: Record<string, string>) =>
    containerd.containers.update({
      container: { id, labels },
      updateMask: Object.keys(labels).map((key) => `labels.${key}`),
    })
  const labelsOf = async (id: string) => (await containerd.containers.get({ id })).container?.labels ?? {}
  const pid = async (id: string, other = 0) =>
    eventually(`${id} runs`, async () => {
      const { tasks } = await containerd.tasks.list({})
      const task = tasks.find((candidate) => candidate.id === id)
      return task !== undefined && task.status === 2 && task.pid !== other ? task.pid : undefined
    })
  const gone = (id: string) =>
    eventually(`${id} is gone`, async () =>
      (await containerd.tasks.list({})).tasks.some((task) => task.id === id) ? undefined : true,
    )

  test('keeps a container running, also when the daemon was away, until it is to be stopped', async () => {
    const log = join(dir, 'log')
    const { status, logUri, count } = restartLabels
    await create('kept', ['sh', '-c', 'echo begun; exec busybox sleep 1000'], { [status]: 'running', [logUri]: `file://${log}` })
    const first = await pid('kept')
    process.kill(first, 'SIGKILL')
    const second = await pid('kept', first)
    await daemon.stop('SIGKILL')
    containerd.close()
    process.kill(second, 'SIGKILL')
    await start()
    await pid('kept', second)
    expect(await labelsOf('kept')).toEqual({ [status]: 'running', [logUri]: `file://${log}`, [count]: '3' })
    await eventually('each has written', async () => (await readFile(log, 'utf8')) === 'begun\n'.repeat(3) || undefined)
    await label('kept', { [status]: 'stopped' })
    await gone('kept')
    await containerd.containers.delete({ id: 'kept' })
  })

  test('starts one that fails as often as its policy says', async () => {
    const { status, policy, count } = restartLabels
    const log = join(dir, 'failing')
    await create('failing', ['sh', '-c', 'echo begun; exit 1'], {
      [status]: 'running',
      [restartLabels.logUri]: `file://${log}`,
    })
    await eventually('it has begun', async () => (await labelsOf('failing'))[count] === '1' || undefined)
    await label('failing', { [policy]: 'on-failure:4' })
    await eventually('it was restarted four times', async () => Number((await labelsOf('failing'))[count]) >= 4 || undefined)
    await new Promise((resolve) => setTimeout(resolve, 500))
    const times = Number((await labelsOf('failing'))[count])
    expect(await readFile(log, 'utf8')).toBe('begun\n'.repeat(times))
    await label('failing', { [status]: 'created' })
    await containerd.tasks.delete({ containerId: 'failing' })
    await containerd.containers.delete({ id: 'failing' })
  })
})
