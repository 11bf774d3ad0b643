import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { packAny } from '@containerd-ts/api'
import { CheckpointOptions } from '@containerd-ts/api/containerd/runc/v1/options'
import { Status } from '@containerd-ts/api/containerd/v1/types/task'
import { closeAll, holdFifo, makeFifo } from '@containerd-ts/linux'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { execSpec, leftovers, openStage, type Stage } from './driver.js'

// criu wants a kernel that it knows; `npm run test:vm` has one.
const check = spawnSync('criu', ['check'], { encoding: 'utf8' })
const works = process.getuid?.() === 0 && check.status === 0
if (!works) console.log(`skipped: needs root and a criu that works on this kernel\n${check.error?.message ?? check.stderr}`)

describe.runIf(works)('a checkpoint by criu', () => {
  let stage: Stage
  const held: number[] = []
  beforeEach(async () => {
    stage = await openStage('runc')
  })
  afterEach(async () => {
    closeAll(held.splice(0))
    await stage.close()
    expect(leftovers(stage)).toEqual([])
  })

  /** The FIFOs of a client. */
  const openStreams = (client: string) => {
    const [stdin, stdout, stderr] = ['stdin', 'stdout', 'stderr'].map((name) => {
      const path = join(stage.dir, `${client}-${name}`)
      makeFifo(path, 0o600)
      held.push(holdFifo(path))
      return path
    })
    const fd = held.at(-2) ?? -1
    const output = () => {
      const bytes = Buffer.alloc(100)
      return bytes.toString('utf8', 0, readSync(fd, bytes))
    }
    return { paths: { stdin, stdout, stderr }, output }
  }

  const optionsOf = (options: Partial<CheckpointOptions>) =>
    packAny('containerd.runc.v1.CheckpointOptions', CheckpointOptions, CheckpointOptions.fromPartial(options))

  test('holds what a process has in memory, which goes on elsewhere', async () => {
    const bundle = stage.bundle('c', {
      args: ['sh', '-c', 'n=7; while ! test -e /tmp/end; do sleep 0.1; done; echo n is $n; exit $n'],
    })
    const { tasks } = await stage.start('c')
    await tasks.create({ id: 'c', bundle, ...openStreams('former').paths })
    const path = join(stage.dir, 'images')
    mkdirSync(path)
    await expect(tasks.checkpoint({ id: 'c', path })).rejects.toMatchObject({
      message: 'cannot checkpoint a task in created state',
    })
    await tasks.start({ id: 'c' })

    await tasks.checkpoint({ id: 'c', path, options: optionsOf({ exit: false }) })
    expect(readdirSync(path)).toEqual(expect.arrayContaining(['inventory.img', 'pages-1.img']))
    expect(await tasks.state({ id: 'c' })).toMatchObject({ status: Status.RUNNING })
    const again = join(stage.dir, 'again')
    mkdirSync(again)
    const exit = tasks.wait({ id: 'c' })
    await tasks.checkpoint({ id: 'c', path: again, options: optionsOf({ exit: true }) })
    expect(await exit).toMatchObject({ exitStatus: 137 })
    await tasks.delete({ id: 'c' })

    // What is restored has no use for these words: it is in the middle of the former ones.
    rmSync(bundle, { recursive: true })
    stage.bundle('c', { args: ['sh', '-c', 'exit 1'] })
    const { paths, output } = openStreams('latter')
    expect(await tasks.create({ id: 'c', bundle, ...paths, checkpoint: again })).toEqual({ pid: 0 })
    expect(await tasks.state({ id: 'c' })).toMatchObject({ pid: 0, status: Status.CREATED })
    const { pid } = await tasks.start({ id: 'c' })
    expect(await tasks.state({ id: 'c' })).toMatchObject({ pid, status: Status.RUNNING })
    const ended = tasks.wait({ id: 'c' })
    await tasks.exec({ id: 'c', execId: 'end', spec: execSpec(['sh', '-c', ': > /tmp/end']) })
    await tasks.start({ id: 'c', execId: 'end' })
    expect(await ended).toMatchObject({ exitStatus: 7 })
    expect(output()).toBe('n is 7\n')
    await tasks.delete({ id: 'c' })
    await tasks.shutdown({})
  })
})
