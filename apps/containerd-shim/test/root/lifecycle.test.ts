import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { Status } from '@containerd-ts/api/containerd/v1/types/task'
import { cgroupAt, cgroupOf } from '@containerd-ts/cgroups'
import { oomScoreAdj } from '@containerd-ts/linux'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { execSpec, isAlive, leftovers, openStage, runtimes, type Shim, type Stage } from './driver.js'

describe.runIf(process.getuid?.() === 0).each(runtimes)('a container of a shim, with %s', (runtime) => {
  let stage: Stage
  beforeEach(async () => {
    stage = await openStage(runtime)
  })
  afterEach(async () => {
    await stage.close()
    expect(leftovers(stage)).toEqual([])
  })

  const run = async (shim: Shim, id: string, bundle: string): Promise<number> => {
    await shim.tasks.create({ id, bundle })
    const exit = shim.tasks.wait({ id })
    await shim.tasks.start({ id })
    const { exitStatus } = await exit
    await shim.tasks.delete({ id })
    return exitStatus
  }

  const shutDown = async (shim: Shim) => {
    await shim.tasks.shutdown({})
    await shim.connection.closed
    await expect.poll(() => isAlive(shim.pid)).toBe(false)
    expect(existsSync(shim.address.replace('unix://', ''))).toBe(false)
  }

  test('lives from create to delete, with its events in order, and leaves nothing', async () => {
    const bundle = stage.bundle('c1', { args: ['sh', '-c', 'exit 42'] })
    const shim = await stage.start('c1')
    const { pid } = await shim.tasks.create({ id: 'c1', bundle })
    expect(isAlive(pid)).toBe(true)
    expect(await shim.tasks.connect({ id: 'c1' })).toMatchObject({ shimPid: shim.pid, taskPid: pid })
    expect(await shim.tasks.state({ id: 'c1' })).toMatchObject({
      id: 'c1',
      pid,
      status: Status.CREATED,
      exitedAt: { seconds: -62135596800 },
    })
    await expect(shim.tasks.create({ id: 'c1', bundle })).rejects.toMatchObject({ code: 'AlreadyExists' })

    const waits = [shim.tasks.wait({ id: 'c1' }), shim.tasks.wait({ id: 'c1' })]
    expect(await shim.tasks.start({ id: 'c1' })).toEqual({ pid })
    for (const { exitStatus, exitedAt } of await Promise.all(waits)) {
      expect(exitStatus).toBe(42)
      expect(Math.abs((exitedAt?.seconds ?? 0) - Date.now() / 1000)).toBeLessThan(10)
    }
    await expect.poll(() => stage.topics('c1')).toEqual(['/tasks/create', '/tasks/start', '/tasks/exit'])
    expect(await shim.tasks.wait({ id: 'c1' })).toMatchObject({ exitStatus: 42 })
    expect(await shim.tasks.state({ id: 'c1' })).toMatchObject({ status: Status.STOPPED, exitStatus: 42 })
    await expect(shim.tasks.kill({ id: 'c1', signal: 9 })).rejects.toMatchObject({ code: 'NotFound' })
    await expect(shim.tasks.start({ id: 'c1' })).rejects.toMatchObject({ message: 'cannot start a stopped process' })
    await shim.tasks.shutdown({})
    expect(await shim.tasks.delete({ id: 'c1' })).toMatchObject({ pid, exitStatus: 42 })
    await expect(shim.tasks.state({ id: 'c1' })).rejects.toMatchObject({
      code: 'NotFound',
      message: 'container not created: not found',
    })
    await expect.poll(() => stage.topics('c1').at(-1)).toBe('/tasks/delete')
    expect(stage.events.every((event) => event.namespace === stage.namespace)).toBe(true)

    await shutDown(shim)
    expect(await stage.deleteAction('c1')).toMatchObject({ exitStatus: 137 })
  })

  test.each([
    ['exit 0', 0],
    ['exit 255', 255],
    ['kill -TERM $$; sleep 5', 143],
    ['kill -KILL $$', 137],
  ])('ends with the status of its process: %s', async (script, status) => {
    // The first process of a pid namespace does not die of its own signals.
    const bundle = stage.bundle('c1', { args: ['sh', '-c', `sh -c '${script}'; exit $?`] })
    const shim = await stage.start('c1')
    expect(await run(shim, 'c1', bundle)).toBe(status)
  })

  test('answers a start helper of 1.x with a plain address, which it also leaves in the bundle, and joins a shim that runs', async () => {
    const bundle = stage.bundle('c1')
    const shim = await stage.start('c1', { stdin: 'empty' })
    expect(shim.address).toMatch(/^unix:\/\/.*\/s\/[0-9a-f]{64}$/)
    expect(readFileSync(join(bundle, 'address'), 'utf8')).toBe(shim.address)
    const again = await stage.start('c1', { stdin: 'params' })
    expect(again).toMatchObject({ address: shim.address, pid: shim.pid })
    expect(await run(shim, 'c1', bundle)).toBe(0)
    await shutDown(shim)
  })

  test('shares its shim by annotation, or with the whole namespace', async () => {
    const annotations = { 'io.kubernetes.cri.sandbox-id': 'pod' }
    for (const id of ['a', 'b']) stage.bundle(id, { annotations })
    for (const id of ['c', 'd']) stage.bundle(id)
    const pods = [await stage.start('a'), await stage.start('b')]
    expect(pods[0]?.pid).toBe(pods[1]?.pid)
    const all = [await stage.start('c', { scope: 'namespace' }), await stage.start('d', { scope: 'namespace' })]
    expect(all[0]?.pid).toBe(all[1]?.pid)
    expect(all[0]?.pid).not.toBe(pods[0]?.pid)
  })

  test('can be killed before it is started, and deleted without being started', async () => {
    const shim = await stage.start('c1', { scope: 'namespace' }).catch(() => undefined)
    expect(shim).toBeUndefined()
    const bundle = stage.bundle('c1', { args: ['sleep', '100'] })
    const running = await stage.start('c1')
    await running.tasks.create({ id: 'c1', bundle })
    const exit = running.tasks.wait({ id: 'c1' })
    await running.tasks.kill({ id: 'c1', signal: 9 })
    expect(await exit).toMatchObject({ exitStatus: 137 })
    expect(await running.tasks.state({ id: 'c1' })).toMatchObject({ status: Status.STOPPED })
    await running.tasks.delete({ id: 'c1' })
    await expect.poll(() => stage.topics('c1')).toEqual(['/tasks/create', '/tasks/exit', '/tasks/delete'])

    const other = stage.bundle('c2', { args: ['sleep', '100'] })
    await running.tasks.create({ id: 'c2', bundle: other })
    const { pid } = await running.tasks.state({ id: 'c2' })
    expect(await running.tasks.delete({ id: 'c2' })).toMatchObject({ pid, exitStatus: 137 })
    expect(isAlive(pid)).toBe(false)
    await expect.poll(() => stage.topics('c2')).toEqual(['/tasks/create', '/tasks/exit', '/tasks/delete'])
  })

  test('that cannot be created leaves no trace and no event, and says why in the words of the runtime', async () => {
    const bundle = stage.bundle('c1', { args: ['no-such-program'] })
    const shim = await stage.start('c1')
    await expect(shim.tasks.create({ id: 'c1', bundle })).rejects.toMatchObject({
      code: 'Unknown',
      message: expect.stringMatching(/^OCI runtime create failed: (?=.*no-such-program).*executable file.* not found in \$PATH/),
    })
    const value = Options.encode(Options.fromPartial({ binaryName: 'no-runc' })).finish()
    await expect(
      shim.tasks.create({ id: 'c1', bundle, options: { typeUrl: 'containerd.runc.v1.Options', value } }),
    ).rejects.toMatchObject({
      message: expect.stringMatching(/^OCI runtime create failed: .*exec: "no-runc": executable file not found in \$PATH$/),
    })
    const good = stage.bundle('c2')
    expect(await run(shim, 'c2', good)).toBe(0)
    expect(stage.topics('c1')).toEqual([])
    rmSync(join(bundle, 'log.json'), { force: true })
  })

  test('joins the cgroup of its options and is one step nearer to the end of memory, whichever way it is told', async () => {
    const name = `/${stage.namespace}-shims`
    const cgroup = cgroupAt(name)
    const dirs =
      cgroup?.version === 1 ? [...new Set(cgroup.paths.values())].filter((dir) => !dir.includes('cpuset')) : [cgroup?.path ?? '']
    for (const dir of dirs) mkdirSync(dir)
    try {
      const value = Options.encode(Options.fromPartial({ shimCgroup: name })).finish()
      const options = { typeUrl: 'containerd.runc.v1.Options', value }
      for (const [id, stdin] of [
        ['a', 'params'],
        ['b', 'options'],
      ] as const) {
        stage.bundle(id)
        const shim = await stage.start(id, { stdin, options })
        const found = cgroupOf(shim.pid)
        expect(found?.version === 1 ? found.paths.get('pids') : found?.path).toBe(
          cgroup?.version === 1 ? cgroup.paths.get('pids') : cgroup?.path,
        )
        expect(oomScoreAdj(shim.pid)).toBe(Math.min(oomScoreAdj(process.pid) + 1, 1000))
        await shutDown(shim)
      }
    } finally {
      for (const dir of dirs) await expect.poll(() => tryRemove(dir)).toBe(true)
    }
  })

  test('mounts and unmounts its root filesystem', async () => {
    const bundle = stage.bundle('c1', { root: 'rootfs', args: ['sh', '-c', 'test -e /bin/busybox && exit 7'] })
    const shim = await stage.start('c1')
    const rootfs = [{ type: 'bind', source: join(stage.dir, 'busybox'), target: '', options: ['rbind', 'rw'] }]
    await expect(
      shim.tasks.create({ id: 'c1', bundle, rootfs: [...rootfs, { type: 'nofs', source: 'x', target: '', options: [] }] }),
    ).rejects.toMatchObject({ message: expect.stringContaining('nofs') })
    expect(existsSync(join(bundle, 'rootfs/bin'))).toBe(false)
    await shim.tasks.create({ id: 'c1', bundle, rootfs })
    expect(existsSync(join(bundle, 'rootfs/bin'))).toBe(true)
    const exit = shim.tasks.wait({ id: 'c1' })
    await shim.tasks.start({ id: 'c1' })
    expect(await exit).toMatchObject({ exitStatus: 7 })
    await shim.tasks.delete({ id: 'c1' })
    expect(existsSync(join(bundle, 'rootfs/bin'))).toBe(false)
  })

  test('pauses and resumes; a kill reaches it while paused', async () => {
    const bundle = stage.bundle('c1', { args: ['sleep', '100'] })
    const shim = await stage.start('c1')
    await shim.tasks.create({ id: 'c1', bundle })
    await expect(shim.tasks.pause({ id: 'c1' })).rejects.toMatchObject({ message: 'cannot pause task in created state' })
    await shim.tasks.start({ id: 'c1' })
    await shim.tasks.exec({ id: 'c1', execId: 'e', spec: execSpec(['sleep', '100']) })
    await shim.tasks.start({ id: 'c1', execId: 'e' })
    await shim.tasks.pause({ id: 'c1' })
    expect(await shim.tasks.state({ id: 'c1' })).toMatchObject({ status: Status.PAUSED })
    expect(await shim.tasks.state({ id: 'c1', execId: 'e' })).toMatchObject({ status: Status.PAUSED })
    await expect(shim.tasks.exec({ id: 'c1', execId: 'f', spec: execSpec(['true']) })).rejects.toMatchObject({
      message: 'cannot exec in a paused state',
    })
    await expect(shim.tasks.delete({ id: 'c1' })).rejects.toMatchObject({ message: 'cannot delete a paused process' })
    await shim.tasks.resume({ id: 'c1' })
    expect(await shim.tasks.state({ id: 'c1' })).toMatchObject({ status: Status.RUNNING })
    await shim.tasks.pause({ id: 'c1' })
    const exit = shim.tasks.wait({ id: 'c1' })
    await shim.tasks.kill({ id: 'c1', signal: 9 })
    expect(await exit).toMatchObject({ exitStatus: 137 })
    await shim.tasks.delete({ id: 'c1' })
    const topics = [
      '/tasks/create',
      '/tasks/start',
      '/tasks/exec-added e',
      '/tasks/exec-started e',
      '/tasks/paused',
      '/tasks/resumed',
    ]
    await expect
      .poll(() => stage.topics('c1'))
      .toEqual([...topics, '/tasks/paused', '/tasks/exit e', '/tasks/exit', '/tasks/delete'])
  })

  test('takes everything along that shares its pid namespace', async () => {
    const bundle = stage.bundle('c1', { hostPid: true, args: ['sh', '-c', 'sleep 1234 & sleep 4321; true'] })
    const shim = await stage.start('c1')
    await shim.tasks.create({ id: 'c1', bundle })
    await shim.tasks.start({ id: 'c1' })
    await expect.poll(async () => (await shim.tasks.pids({ id: 'c1' })).processes.length).toBe(3)
    const pids = (await shim.tasks.pids({ id: 'c1' })).processes.map(({ pid }) => pid)
    const exit = shim.tasks.wait({ id: 'c1' })
    await shim.tasks.kill({ id: 'c1', signal: 9 })
    expect(await exit).toMatchObject({ exitStatus: 137 })
    await expect.poll(() => pids.filter(isAlive)).toEqual([])
    await shim.tasks.delete({ id: 'c1' })
  })

  test('tells what it uses, changes its limits, and is reported when memory runs out', async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell that reads it.
    const script = 'while true; do x=$x$x; test ${#x} -gt 1 || x=aaaaaaaaaaaaaaaa; done'
    const bundle = stage.bundle('c1', { memoryLimit: 32 << 20, args: ['sh', '-c', `sleep 0.5; ${script}`] })
    const shim = await stage.start('c1')
    await shim.tasks.create({ id: 'c1', bundle })
    const exit = shim.tasks.wait({ id: 'c1' })
    const { stats } = await shim.tasks.stats({ id: 'c1' })
    expect(stats?.typeUrl).toMatch(/^io\.containerd\.cgroups\.v[12]\.Metrics$/)
    expect(stats?.value.length).toBeGreaterThan(50)
    const resources = {
      typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources',
      value: Buffer.from('{"pids":{"limit":77}}'),
    }
    await shim.tasks.update({ id: 'c1', resources })
    await shim.tasks.start({ id: 'c1' })
    expect(await exit).toMatchObject({ exitStatus: 137 })
    await shim.tasks.delete({ id: 'c1' })
    await expect
      .poll(() => stage.topics('c1'))
      .toEqual(['/tasks/create', '/tasks/start', '/tasks/oom', '/tasks/exit', '/tasks/delete'])
  })

  test('is cleared away by the delete action after its shim was killed', async () => {
    const bundle = stage.bundle('c1', { root: 'rootfs', args: ['sleep', '100'] })
    const shim = await stage.start('c1')
    const rootfs = [{ type: 'bind', source: join(stage.dir, 'busybox'), target: '', options: ['rbind', 'rw'] }]
    const { pid } = await shim.tasks.create({ id: 'c1', bundle, rootfs })
    await shim.tasks.start({ id: 'c1' })
    process.kill(shim.pid, 'SIGKILL')
    await shim.connection.closed
    expect(isAlive(pid)).toBe(true)
    expect(await stage.deleteAction('c1')).toMatchObject({ pid, exitStatus: 137 })
    await expect.poll(() => isAlive(pid)).toBe(false)
    expect(existsSync(join(bundle, 'rootfs/bin'))).toBe(false)
    expect(await stage.deleteAction('c1')).toMatchObject({ exitStatus: 137 })
    const again = await stage.start('c1')
    expect(again.pid).not.toBe(shim.pid)
    await again.tasks.shutdown({})
    await again.connection.closed
  })
})

function tryRemove(dir: string): boolean {
  try {
    rmdirSync(dir)
  } catch {
    // A process that has just ended may still be counted.
  }
  return !existsSync(dir)
}
