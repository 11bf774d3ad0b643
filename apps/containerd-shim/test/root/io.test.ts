import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Status } from '@containerd-ts/api/containerd/v1/types/task'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { execSpec, isAlive, leftovers, openStage, runtimes, type Shim, type SpecOptions, type Stage } from './driver.js'
import { type ClientStreams, clientStreams, type StreamOptions } from './streams.js'

describe.runIf(process.getuid?.() === 0).each(runtimes)('the streams of a process, with %s', (runtime) => {
  let stage: Stage
  let shim: Shim
  let open: ClientStreams[]
  beforeEach(async () => {
    open = []
    stage = await openStage(runtime)
    stage.bundle('shim')
    shim = await stage.start('shim')
  })
  afterEach(async () => {
    for (const streams of open) streams.close()
    await stage.close()
    expect(leftovers(stage)).toEqual([])
  })

  const streamsFor = (name: string, options?: StreamOptions): ClientStreams => {
    const streams = clientStreams(stage.dir, name, options)
    open.push(streams)
    return streams
  }

  /** Creates and starts a container; the result is its exit. */
  const launch = async (
    id: string,
    spec: SpecOptions,
    stdio: object,
  ): Promise<{ exit: Promise<{ exitStatus: number }>; pid: number }> => {
    const bundle = stage.bundle(id, spec)
    const { pid } = await shim.tasks.create({ id, bundle, terminal: spec.terminal === true, ...stdio })
    const exit = shim.tasks.wait({ id })
    // Nobody may be interested in it.
    exit.catch(() => {})
    await shim.tasks.start({ id })
    return { exit, pid }
  }

  const launchExec = async (id: string, execId: string, args: readonly string[], stdio: object, terminal = false) => {
    await shim.tasks.exec({ id, execId, spec: execSpec(args, terminal), terminal, ...stdio })
    const exit = shim.tasks.wait({ id, execId })
    exit.catch(() => {})
    await shim.tasks.start({ id, execId })
    return exit
  }

  test('bring every byte, apart, and end when the process ends, before it is deleted', async () => {
    const streams = streamsFor('s')
    const script =
      'i=0; while test $i -lt 64; do dd if=/bin/busybox bs=65536 count=2 2>/dev/null; i=$((i+1)); done; echo done >&2'
    const { exit } = await launch('c1', { args: ['sh', '-c', script] }, streams.paths)
    const expected = createHash('sha256')
    const chunk = readFileSync('/bin/busybox').subarray(0, 131072)
    for (let i = 0; i < 64; i++) expected.update(chunk)
    expect(
      createHash('sha256')
        .update(await streams.stdout)
        .digest('hex'),
    ).toBe(expected.digest('hex'))
    expect((await streams.stderr).toString()).toBe('done\n')
    expect(await exit).toMatchObject({ exitStatus: 0 })
    await shim.tasks.delete({ id: 'c1' })
  })

  test('may be the same one, and bytes of a process that is deleted at once are not lost', async () => {
    const streams = streamsFor('s', { stderr: false })
    const { exit } = await launch(
      'c1',
      { args: ['sh', '-c', 'seq 1 2000; seq 1 2000 >&2'] },
      { stdout: streams.paths.stdout, stderr: streams.paths.stdout },
    )
    await exit
    await shim.tasks.delete({ id: 'c1' })
    expect((await streams.stdout).toString().split('\n').length).toBe(4001)
  })

  test('carry 20 MiB in and out, until stdin is closed on both sides', async () => {
    const streams = streamsFor('s', { stdin: true })
    const { exit } = await launch('c1', { args: ['cat'] }, streams.paths)
    const bytes = randomBytes(20 << 20)
    const first = streams.openStdin()
    await new Promise<void>((resolve) => first.end(bytes.subarray(0, 10 << 20), resolve))
    await sleep(100)
    expect(await shim.tasks.state({ id: 'c1' })).toMatchObject({ status: Status.RUNNING })
    const second = streams.openStdin()
    await new Promise<void>((resolve) => second.write(bytes.subarray(10 << 20), () => resolve()))
    await shim.tasks.closeIO({ id: 'c1', stdin: true })
    await sleep(50)
    expect(await shim.tasks.state({ id: 'c1' })).toMatchObject({ status: Status.RUNNING })
    second.end()
    expect(Buffer.compare(await streams.stdout, bytes)).toBe(0)
    expect(await exit).toMatchObject({ exitStatus: 0 })
  })

  test('survive a reader that goes away, and wait for the next one', async () => {
    const gone = streamsFor('s')
    const script = 'echo one; sleep 0.3; seq 1 40000; echo end'
    const { exit } = await launch('c1', { args: ['sh', '-c', script] }, gone.paths)
    await expect.poll(() => gone.text('stdout')).toBe('one\n')
    gone.close()
    await sleep(600)
    // More than a pipe holds was written: it waits, alive.
    expect(await shim.tasks.state({ id: 'c1' })).toMatchObject({ status: Status.RUNNING })
    const later = readFileSync(gone.paths.stdout, 'utf8')
    expect(later.split('\n').slice(0, 2)).toEqual(['1', '2'])
    expect(later).toMatch(/40000\nend\n$/)
    expect(await exit).toMatchObject({ exitStatus: 0 })
  })

  test('go to a file, which the process can neither truncate nor own, with directories made for it', async () => {
    const path = join(stage.dir, 'logs/deep/out.log')
    const stdout = `file://${path}`
    const { exit } = await launch(
      'c1',
      { args: ['sh', '-c', 'echo one; echo two >&2; echo three > /dev/stdout; echo four'] },
      { stdout, stderr: stdout },
    )
    await exit
    await shim.tasks.delete({ id: 'c1' })
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\nthree\nfour\n')
  })

  test('go to a logging binary, which is told to end at the deletion', async () => {
    const logger = join(stage.dir, 'logger')
    const out = join(stage.dir, 'logged')
    const lines = [
      '#!/bin/sh',
      `trap "echo term >> ${out}.signal; exit 0" TERM`,
      `echo "$@ $CONTAINER_ID $CONTAINER_NAMESPACE" > ${out}.args`,
      `/bin/cat <&3 > ${out}.stdout & /bin/cat <&4 > ${out}.stderr &`,
      'exec 3<&- 4<&-; echo ready >&5; exec 5>&-',
      'while :; do /bin/sleep 0.05; done',
    ]
    writeFileSync(logger, lines.join('\n'))
    chmodSync(logger, 0o755)
    const stdout = `binary://${logger}?key=value&flag&key=other`
    const { exit } = await launch('c1', { args: ['sh', '-c', 'seq 1 20000; echo err >&2'] }, { stdout, stderr: stdout })
    await exit
    await shim.tasks.delete({ id: 'c1' })
    expect(readFileSync(`${out}.args`, 'utf8')).toBe(`key value flag  c1 ${stage.namespace}\n`)
    expect(readFileSync(`${out}.stdout`, 'utf8').split('\n').length).toBe(20001)
    expect(readFileSync(`${out}.stderr`, 'utf8')).toBe('err\n')
    expect(readFileSync(`${out}.signal`, 'utf8')).toBe('term\n')

    writeFileSync(logger, '#!/bin/sh\nexit 1\n')
    const bundle = stage.bundle('c2')
    await expect(shim.tasks.create({ id: 'c2', bundle, stdout: `binary-v2://${logger}`, stderr: '' })).rejects.toMatchObject({
      message: 'logging binary did not call ready',
    })
    await expect(shim.tasks.create({ id: 'c2', bundle, stdout: 'http://x', stderr: 'http://x' })).rejects.toMatchObject({
      message: 'unknown STDIO scheme http',
    })
  })

  test('of additional processes come and go with them', async () => {
    await launch('c1', { args: ['sleep', '100'] }, {})
    const streams = streamsFor('e1', { stdin: true })
    const exit = launchExec('c1', 'e1', ['sh', '-c', 'cat; echo err >&2; exit 9'], streams.paths)
    await expect.poll(async () => (await shim.tasks.state({ id: 'c1', execId: 'e1' })).status).toBe(Status.RUNNING)
    await expect(shim.tasks.exec({ id: 'c1', execId: 'e1', spec: execSpec(['true']) })).rejects.toMatchObject({
      code: 'AlreadyExists',
    })
    await expect(shim.tasks.delete({ id: 'c1', execId: 'e1' })).rejects.toMatchObject({
      message: 'cannot delete a running process',
    })
    const { processes } = await shim.tasks.pids({ id: 'c1' })
    expect(processes.filter(({ info }) => info !== undefined).length).toBe(1)
    const input = streams.openStdin()
    await new Promise<void>((resolve) => input.end('hello', resolve))
    await shim.tasks.closeIO({ id: 'c1', execId: 'e1', stdin: true })
    expect(await exit).toMatchObject({ exitStatus: 9 })
    expect((await streams.stdout).toString()).toBe('hello')
    expect((await streams.stderr).toString()).toBe('err\n')
    await expect(shim.tasks.kill({ id: 'c1', execId: 'e1', signal: 9 })).rejects.toMatchObject({ code: 'NotFound' })
    expect(await shim.tasks.delete({ id: 'c1', execId: 'e1' })).toMatchObject({ exitStatus: 9 })

    // The id is free again. What cannot be started can still be deleted, and nobody waits for it.
    const failing = launchExec('c1', 'e1', ['no-such-program'], {})
    await expect(failing).rejects.toMatchObject({
      message: expect.stringMatching(/^OCI runtime exec failed: .*executable file.* not found/),
    })
    expect(await shim.tasks.wait({ id: 'c1', execId: 'e1' })).toMatchObject({ exitStatus: 0 })
    expect(await shim.tasks.state({ id: 'c1', execId: 'e1' })).toMatchObject({ status: Status.CREATED })
    expect(await shim.tasks.delete({ id: 'c1', execId: 'e1' })).toMatchObject({ exitStatus: 0, pid: 0 })
    await expect(shim.tasks.state({ id: 'c1', execId: 'e1' })).rejects.toMatchObject({
      message: 'process does not exist e1: not found',
    })

    const large = `${'x'.repeat(20_000)}`
    const echoed = streamsFor('e2')
    await launchExec('c1', 'e2', ['echo', large], echoed.paths)
    expect((await echoed.stdout).toString()).toBe(`${large}\n`)
    expect(existsSync(join(stage.dir, 'bundles/c1/e2.process.json'))).toBe(false)
  })

  test('of many short processes are complete, and their exits come before that of the container', async () => {
    await launch('c1', { args: ['sleep', '100'] }, {})
    const rounds = Array.from({ length: 12 }, (_, i) => i)
    await Promise.all(
      rounds.map(async (i) => {
        const streams = streamsFor(`e${i}`)
        const exit = await launchExec('c1', `e${i}`, ['sh', '-c', `seq 1 3000; exit ${i}`], streams.paths)
        expect(exit).toMatchObject({ exitStatus: i })
        expect((await streams.stdout).toString().split('\n').length).toBe(3001)
        await shim.tasks.delete({ id: 'c1', execId: `e${i}` })
      }),
    )
    const racing = Promise.allSettled(rounds.map((i) => launchExec('c1', `r${i}`, ['sleep', '100'], {})))
    await sleep(60)
    await shim.tasks.kill({ id: 'c1', signal: 9 })
    for (const outcome of await racing) {
      if (outcome.status === 'fulfilled') expect(outcome.value).toMatchObject({ exitStatus: 137 })
      else
        expect(outcome.reason).toMatchObject({
          code: 'FailedPrecondition',
          message: expect.stringContaining('c1 init process is not running'),
        })
    }
    expect(await shim.tasks.wait({ id: 'c1' })).toMatchObject({ exitStatus: 137 })
    await shim.tasks.delete({ id: 'c1' })
    await expect.poll(() => stage.topics('c1').at(-1)).toBe('/tasks/delete')
    const topics = stage.topics('c1')
    const started = topics.filter((topic) => topic.startsWith('/tasks/exec-started')).length
    expect(topics.filter((topic) => /^\/tasks\/exit ./.test(topic)).length).toBe(started)
    expect(topics.slice(-2)).toEqual(['/tasks/exit', '/tasks/delete'])
  })

  describe('with a terminal', () => {
    test('are one, of the size that was asked for before and after the start', async () => {
      const streams = streamsFor('t', { stdin: true, stderr: false })
      const bundle = stage.bundle('c1', {
        terminal: true,
        args: ['sh', '-c', 'stty size; read x; stty size; echo "got $x" >&2; exit 5'],
      })
      await shim.tasks.create({ id: 'c1', bundle, terminal: true, stdin: streams.paths.stdin, stdout: streams.paths.stdout })
      await shim.tasks.resizePty({ id: 'c1', width: 12, height: 34 })
      const exit = shim.tasks.wait({ id: 'c1' })
      await shim.tasks.start({ id: 'c1' })
      await expect.poll(() => streams.text('stdout')).toBe('34 12\r\n')
      await shim.tasks.resizePty({ id: 'c1', width: 80, height: 25 })
      streams.openStdin().write('word\n')
      expect(await exit).toMatchObject({ exitStatus: 5 })
      expect((await streams.stdout).toString()).toBe('34 12\r\nword\r\n25 80\r\ngot word\r\n')
      await shim.tasks.resizePty({ id: 'c1', width: 1, height: 1 })
      await shim.tasks.delete({ id: 'c1' })
    })

    test('lose nothing of short processes', async () => {
      await launch('c1', { args: ['sleep', '100'] }, {})
      for (let i = 0; i < 8; i++) {
        const streams = streamsFor(`t${i}`, { stderr: false })
        await shim.tasks.exec({
          id: 'c1',
          execId: `t${i}`,
          spec: execSpec(['seq', '1', '2000'], true),
          terminal: true,
          stdout: streams.paths.stdout,
        })
        await shim.tasks.resizePty({ id: 'c1', execId: `t${i}`, width: 10, height: 10 })
        await shim.tasks.start({ id: 'c1', execId: `t${i}` })
        expect(await shim.tasks.wait({ id: 'c1', execId: `t${i}` })).toMatchObject({ exitStatus: 0 })
        await shim.tasks.delete({ id: 'c1', execId: `t${i}` })
        expect((await streams.stdout).toString().split('\r\n').length).toBe(2001)
      }
    })

    test('end with the process although another one keeps the terminal', async () => {
      const streams = streamsFor('t', { stderr: false })
      await launch('c1', { args: ['sleep', '100'] }, {})
      const args = ['sh', '-c', 'trap "" HUP; sleep 50 & echo $!; exit 3']
      const exit = await launchExec('c1', 'e1', args, { stdout: streams.paths.stdout }, true)
      expect(exit).toMatchObject({ exitStatus: 3 })
      expect((await streams.stdout).toString()).toMatch(/^\d+\r\n$/)
    })

    test('fail with the words of the runtime', async () => {
      const streams = streamsFor('t', { stderr: false })
      const bundle = stage.bundle('c1', { terminal: true, args: ['no-such-program'] })
      await expect(shim.tasks.create({ id: 'c1', bundle, terminal: true, stdout: streams.paths.stdout })).rejects.toMatchObject({
        message: expect.stringMatching(/^OCI runtime create failed: .*executable file.* not found/),
      })
      await streams.stdout
    })
  })

  test('are let go of: no descriptor stays in the shim', async () => {
    const count = () => readdirSync(`/proc/${shim.pid}/fd`).length
    const round = async (id: string) => {
      const streams = streamsFor(id, { stdin: true })
      const { exit } = await launch(id, { args: ['sh', '-c', 'echo x'] }, streams.paths)
      await exit
      await shim.tasks.delete({ id })
      const terminal = streamsFor(`${id}t`, { stdin: true, stderr: false })
      const launched = await launch(`${id}t`, { terminal: true, args: ['sh', '-c', 'echo x'] }, terminal.paths)
      await launched.exit
      await shim.tasks.delete({ id: `${id}t` })
      await Promise.all([streams.stdout, terminal.stdout])
    }
    await round('warm')
    const before = count()
    for (let i = 0; i < 4; i++) await round(`r${i}`)
    await expect.poll(count).toBeLessThanOrEqual(before)
    expect(isAlive(shim.pid)).toBe(true)
  })
})
