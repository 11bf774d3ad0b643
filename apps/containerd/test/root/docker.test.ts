import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { release, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import {
  buildBusyboxImage,
  docker as dockerProgram,
  eventually,
  exec,
  ourDaemon,
  prepareCgroups,
  runInTerminal,
  startDockerd,
  type TestDockerd,
} from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, expectNothingLeft, startEnvironment } from './environment.js'

const isRoot = process.getuid?.() === 0
const quietly = ['--network', 'none']

/** The shims of the containers of docker below a containerd. */
async function shimsOf(address: string): Promise<number[]> {
  const pids = await Promise.all(
    (await readdir('/proc')).map(async (pid) => {
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
      return words[words.indexOf('-namespace') + 1] === 'moby' && environment.includes(`GRPC_ADDRESS=${address}\0`)
        ? [Number(pid)]
        : []
    }),
  )
  return pids.flat()
}

async function removeContainers(dockerd: TestDockerd): Promise<void> {
  const left = await dockerd.mustDocker(['ps', '--all', '--quiet'])
  if (left !== '') await dockerd.mustDocker(['rm', '--force', ...left.split('\n')])
}

/** Whatever is printed until the program ends or is ended. */
function following(dockerd: TestDockerd, ...args: string[]) {
  const child = spawn(dockerProgram, [...dockerd.client, ...args])
  let shown = ''
  child.stdout.on('data', (chunk) => {
    shown += chunk
  })
  const ended = once(child, 'close')
  return {
    shows: (text: string | RegExp) => eventually(`${args.join(' ')} shows ${text}`, () => shown.match(text) ?? undefined),
    shown: () => shown,
    ended,
    async stop() {
      child.kill()
      await ended
      return shown
    },
  }
}

// Debian's dockerd with this daemon below it. Needs root.
describe.runIf(isRoot)('dockerd on the socket of a containerd', () => {
  let env: Environment
  let dockerd: TestDockerd
  let image: string
  const startDocker = () =>
    startDockerd({
      dir: join(env.dir, 'docker'),
      containerd: env.daemon.address,
      args: ['--live-restore', '--add-runtime', 'crun=/usr/bin/crun'],
    })
  const docker = (...args: string[]) => dockerd.mustDocker(args)
  const detached = (name: string, options: readonly string[], ...command: string[]) =>
    docker('run', '--detach', '--name', name, ...quietly, ...options, image, ...command)
  const inspect = (name: string, template: string) => docker('inspect', '--format', template, name)

  beforeAll(async () => {
    prepareCgroups()
    env = await startEnvironment()
    dockerd = await startDocker()
    image = env.ref
    await docker('pull', image)
  })
  afterAll(async () => {
    if (dockerd === undefined) return env?.close()
    await removeContainers(dockerd)
    expect(await dockerd.stop()).toBe(0)
    await expectNothingLeft(join(env.dir, 'docker'))
    await env.close()
  })

  test('names the daemon', async () => {
    expect(await docker('version')).toMatch(/containerd:\s+Version:\s+v2\.3\.4\+ts\..*\s+GitCommit:\s+[0-9a-f]+/)
    expect(await docker('info', '--format', '{{.DefaultRuntime}} {{.ContainerdCommit.ID}}')).toMatch(/^runc [0-9a-f]+/)
  })

  test('run passes on output, input and the exit code', async () => {
    const run = (command: string[], options: string[] = [], input = '') =>
      dockerd.docker(['run', '--rm', ...quietly, ...options, image, ...command], { input })
    expect(await run(['sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' })
    const text = 'many lines\n'.repeat(50_000)
    expect(await run(['cat'], ['--interactive'], text)).toEqual({ code: 0, stdout: text, stderr: '' })
    expect(await run(['no-such-command'])).toMatchObject({
      code: 127,
      stderr: expect.stringContaining('"no-such-command": executable file not found in $PATH'),
    })
    expect(await run(['/etc'])).toMatchObject({ code: 126, stderr: expect.stringContaining('permission denied') })
    expect(await run(['ps', '-o', 'pid,args'], ['--init'])).toMatchObject({ stdout: expect.stringMatching(/1 .*docker-init/) })
  })

  test('run -it has a terminal that follows the size of the screen', async () => {
    const args = [...dockerd.client, 'run', '--interactive', '--tty', '--rm', ...quietly, image, 'sh']
    const terminal = runInTerminal(dockerProgram, args)
    await terminal.shows('# ')
    terminal.type('echo is-$((6*7))\n')
    await terminal.shows('is-42')
    await eventually('the new size is there', async () => {
      // docker may not have begun to listen for changes yet.
      terminal.resize(90, 20)
      terminal.resize(100, 30)
      terminal.type('stty size\n')
      return terminal.shows('30 100', 200).then(
        () => true,
        () => undefined,
      )
    })
    terminal.type('exit 5\n')
    expect(await terminal.exited).toBe(5)
  })

  test('exec, with and without a terminal', async () => {
    await detached('host', [], 'sleep', '1000')
    const execute = (options: string[], ...command: string[]) => dockerd.docker(['exec', ...options, 'host', ...command])
    expect(await execute([], 'sh', '-c', 'echo inside; exit 9')).toEqual({ code: 9, stdout: 'inside\n', stderr: '' })
    expect((await dockerd.docker(['exec', '-i', 'host', 'cat'], { input: 'through' })).stdout).toBe('through')
    expect(await execute(['--user', 'nobody', '--env', 'A=b', '--workdir', '/tmp'], 'sh', '-c', 'id -un; echo $A; pwd')).toEqual({
      code: 0,
      stdout: 'nobody\nb\n/tmp\n',
      stderr: '',
    })
    expect(await execute([], 'no-such-command')).toMatchObject({ code: 126, stdout: expect.stringContaining('not found') })
    const terminal = runInTerminal(dockerProgram, [...dockerd.client, 'exec', '-it', 'host', 'sh'])
    await terminal.shows('# ')
    terminal.type('tty; exit 3\n')
    await terminal.shows('/dev/pts/')
    expect(await terminal.exited).toBe(3)
    await Promise.all(
      Array.from({ length: 10 }, async (_, n) =>
        expect(await execute([], 'sh', '-c', `exit ${n}`)).toEqual({ code: n, stdout: '', stderr: '' }),
      ),
    )
    await docker('rm', '--force', 'host')
  })

  test('logs follow, attach joins, stop asks and then kills', async () => {
    const script = 'trap "echo bye; exit 3" TERM; n=0; while true; do echo line $n; n=$((n+1)); sleep 0.1; done'
    await detached('talker', [], 'sh', '-c', script)
    const logs = following(dockerd, 'logs', '--follow', 'talker')
    await logs.shows('line 3\n')
    const attached = following(dockerd, 'attach', '--no-stdin', '--sig-proxy=false', 'talker')
    await attached.shows(/line \d+\n/)
    await docker('stop', 'talker')
    await Promise.all([logs.ended, attached.ended])
    expect(logs.shown()).toMatch(/^line 0\n(.*\n)*bye\n$/)
    expect(attached.shown()).toMatch(/bye\n$/)
    expect(await docker('wait', 'talker')).toBe('3')
    await docker('rm', 'talker')

    await detached('deaf', [], 'sh', '-c', 'trap "" TERM; trap "exit 12" USR1; echo ready; while true; do sleep 0.1; done')
    await docker('stop', '--time', '1', 'deaf')
    expect(await inspect('deaf', '{{.State.ExitCode}}')).toBe('137')
    await docker('start', 'deaf')
    await following(dockerd, 'logs', '--follow', 'deaf').shows('ready\nready\n')
    await docker('kill', '--signal', 'USR1', 'deaf')
    expect(await docker('wait', 'deaf')).toBe('12')
    await docker('rm', 'deaf')
  })

  test('pause, top, stats, update', async () => {
    await detached('subject', ['--memory', '64m'], 'sleep', '1000')
    await docker('pause', 'subject')
    expect(await docker('ps', '--format', '{{.Names}} {{.Status}}')).toMatch(/subject .*Paused/)
    expect(await dockerd.docker(['exec', 'subject', 'true'])).toMatchObject({ code: 1 })
    await docker('unpause', 'subject')
    await docker('exec', 'subject', 'true')
    expect(await docker('top', 'subject', '-o', 'pid,args')).toMatch(/\d+ +sleep 1000/)
    const figures = await docker('stats', '--no-stream', '--format', '{{.MemUsage}}|{{.PIDs}}', 'subject')
    expect(figures).toMatch(/^[\d.]+[KM]iB \/ 64MiB\|1$/)
    await docker('update', '--memory', '80m', '--memory-swap', '80m', '--pids-limit', '77', 'subject')
    expect(await docker('stats', '--no-stream', '--format', '{{.MemUsage}}', 'subject')).toMatch(/ \/ 80MiB$/)
    await docker('rm', '--force', 'subject')
  })

  test('memory and number of processes are limited', async () => {
    const limits = ['--memory', '24m', '--memory-swap', '24m']
    const { code } = await dockerd.docker([
      'run',
      '--name',
      'hungry',
      ...quietly,
      ...limits,
      image,
      'sh',
      '-c',
      'exec tail /dev/zero',
    ])
    expect(code).toBe(137)
    expect(await inspect('hungry', '{{.State.OOMKilled}}')).toBe('true')
    await docker('rm', 'hungry')
    const many = ['sh', '-c', 'for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait']
    const crowded = await dockerd.docker(['run', '--rm', ...quietly, '--pids-limit', '5', image, ...many])
    expect(crowded).toMatchObject({ code: 2, stderr: expect.stringContaining("can't fork") })
  })

  test('restart policies', async () => {
    await detached('thrice', ['--restart', 'on-failure:3'], 'sh', '-c', 'exit 4')
    await detached('always', ['--restart', 'always'], 'sleep', '1000')
    const first = await inspect('always', '{{.State.Pid}}')
    process.kill(Number(first), 'SIGKILL')
    await eventually('the container runs again', async () => {
      const [status, pid] = (await inspect('always', '{{.State.Status}} {{.State.Pid}}')).split(' ')
      return status === 'running' && pid !== first ? true : undefined
    })
    await eventually('the policy gives up', async () => {
      const state = await inspect('thrice', '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}')
      return state === '3 exited 4' ? true : undefined
    })
    await docker('rm', '--force', 'thrice', 'always')
  })

  test('events tell the life of a container', async () => {
    const since = String(Date.now() / 1000)
    await docker('run', '--name', 'watched', ...quietly, image, 'true')
    await docker('rm', 'watched')
    const until = String(Date.now() / 1000)
    const events = await docker('events', '--since', since, '--until', until, '--format', '{{.Type}} {{.Action}}')
    const expected = ['create', 'attach', 'start', 'die', 'destroy'].map((action) => `container ${action}`)
    expect(events.split('\n').filter((line) => expected.includes(line))).toEqual(expected)
  })

  test('20 containers at once', async () => {
    const codes = Array.from({ length: 20 }, (_, n) => n)
    const results = await Promise.all(
      codes.map((n) => dockerd.docker(['run', '--rm', ...quietly, image, 'sh', '-c', `echo out ${n}; exit ${n}`])),
    )
    expect(results).toEqual(codes.map((n) => ({ code: n, stdout: `out ${n}\n`, stderr: '' })))
  })

  test('crun is another runtime', async () => {
    const options = ['--runtime', 'crun', '--memory', '24m', '--memory-swap', '24m']
    expect(await dockerd.docker(['run', '--rm', ...quietly, ...options, image, 'sh', '-c', 'echo out; exit 7'])).toEqual({
      code: 7,
      stdout: 'out\n',
      stderr: '',
    })
    await detached('by-crun', options, 'sh', '-c', 'test -e /hungry && exec tail /dev/zero; sleep 1000')
    expect(await docker('exec', 'by-crun', 'touch', '/hungry')).toBe('')
    expect(await docker('top', 'by-crun', '-o', 'pid,args')).toContain('sleep 1000')
    expect(await docker('stats', '--no-stream', '--format', '{{.MemUsage}}', 'by-crun')).toMatch(/ \/ 24MiB$/)
    await docker('pause', 'by-crun')
    await docker('unpause', 'by-crun')
    await docker('stop', '--time', '0', 'by-crun')
    await docker('start', 'by-crun')
    expect(await docker('wait', 'by-crun')).toBe('137')
    expect(await inspect('by-crun', '{{.State.OOMKilled}}')).toBe('true')
    await docker('rm', 'by-crun')
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)('containers live through the end of dockerd by %s', async (signal) => {
    const name = `survivor-${signal}`
    const script = 'n=0; while true; do echo line $n; n=$((n+1)); test -e /stop && exit 21; sleep 0.1; done'
    await detached(name, [], 'sh', '-c', script)
    await detached(`${name}-2`, [], 'sh', '-c', 'while true; do test -e /stop && exit 22; sleep 0.1; done')
    const pid = await inspect(name, '{{.State.Pid}}')
    const merged = await inspect(`${name}-2`, '{{.GraphDriver.Data.MergedDir}}')
    await dockerd.stop(signal)
    // Ends while nobody looks.
    await exec('touch', [join(merged, 'stop')])
    await new Promise((resolve) => setTimeout(resolve, 500))
    dockerd = await startDocker()
    expect(await inspect(name, '{{.State.Status}} {{.State.Pid}}')).toBe(`running ${pid}`)
    await eventually('the exit is known', async () =>
      (await inspect(`${name}-2`, '{{.State.Status}} {{.State.ExitCode}}')) === 'exited 22' ? true : undefined,
    )
    const before = (await docker('logs', name)).split('\n').length
    await eventually('there are more lines', async () =>
      (await docker('logs', name)).split('\n').length > before ? true : undefined,
    )
    await docker('exec', name, 'touch', '/stop')
    expect(await docker('wait', name)).toBe('21')
    await docker('rm', name, `${name}-2`)
  })

  test('containers live through the end of their shim', async () => {
    const script = 'n=0; while true; do echo line $n; n=$((n+1)); test -e /stop && exit 24; sleep 0.05; done'
    await detached('fatherless', [], 'sh', '-c', script)
    const terminal = runInTerminal(dockerProgram, [...dockerd.client, 'run', '-it', '--rm', ...quietly, image, 'sh'])
    await terminal.shows('# ')
    const logs = following(dockerd, 'logs', '--follow', 'fatherless')
    await logs.shows('line 3\n')
    const [shim = 0, ...others] = await shimsOf(env.daemon.address)
    expect(others).toEqual([])
    process.kill(shim, 'SIGKILL')
    await eventually('another shim is there', async () => ((await shimsOf(env.daemon.address))[0] ?? shim) !== shim || undefined)
    terminal.type('echo is-$((6*7)); exit 5\n')
    await terminal.shows('is-42')
    await docker('exec', 'fatherless', 'touch', '/stop')
    await logs.ended
    const lines = logs.shown().trim().split('\n')
    expect(lines).toEqual(lines.map((_, n) => `line ${n}`))
    // Kernels before 6.15 tell nobody but the parent how a process has ended.
    const [major = 0, minor = 0] = release().split('.').map(Number)
    const told = major > 6 || (major === 6 && minor >= 15)
    expect(await terminal.exited).toBeOneOf(told ? [5] : [5, 255])
    expect(await docker('wait', 'fatherless')).toBeOneOf(told ? ['24'] : ['24', '255'])
    await docker('rm', 'fatherless')
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)('dockerd gets over the restart of containerd by %s', async (signal) => {
    await detached('longer', [], 'sh', '-c', 'while true; do test -e /stop && exit 23; sleep 0.1; done')
    await env.restart(signal)
    await eventually('an exec is possible', async () =>
      (await dockerd.docker(['exec', 'longer', 'touch', '/stop'])).code === 0 ? true : undefined,
    )
    expect(await docker('wait', 'longer')).toBe('23')
    await docker('rm', 'longer')
    expect(await docker('run', '--rm', ...quietly, image, 'echo', 'as ever')).toBe('as ever')
  })
})

// dockerd starts, configures and supervises the containerd that it finds in PATH.
describe.runIf(isRoot)('dockerd with a containerd of its own', () => {
  let dir: string
  let dockerd: TestDockerd

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'docker-e2e-'))
    const bin = join(dir, 'bin')
    await mkdir(bin)
    await symlink(ourDaemon, join(bin, 'containerd'))
    const PATH = [bin, process.env['PATH']].join(delimiter)
    dockerd = await startDockerd({ dir: join(dir, 'd'), args: ['--live-restore'], env: { PATH } })
    const { archive, name } = await buildBusyboxImage(dir)
    await exec('skopeo', ['--insecure-policy', 'copy', `oci-archive:${archive}`, `docker-archive:${dir}/docker.tar:${name}`])
    await dockerd.mustDocker(['load', '--input', `${dir}/docker.tar`])
  })
  afterAll(async () => {
    await removeContainers(dockerd)
    const code = await dockerd.stop()
    await expectNothingLeft(join(dir, 'd'))
    await rm(dir, { recursive: true, force: true })
    expect(code).toBe(0)
  })

  const image = 'busybox-ts:latest'
  const docker = (...args: string[]) => dockerd.mustDocker(args)
  const containerdPid = async () => {
    const pids = await Promise.all(
      (await readdir('/proc')).map(async (pid) => {
        const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
        return command.includes(`${dockerd.managed}/containerd.toml`) && !command.startsWith('dockerd') ? [Number(pid)] : []
      }),
    )
    return pids.flat()[0]
  }

  test('it is started, with the configuration that dockerd writes', async () => {
    expect(await containerdPid()).toBeDefined()
    expect(await readFile(join(dockerd.managed, 'containerd.toml'), 'utf8')).toContain('disabled_plugins = ["cri"]')
    expect(await docker('version', '--format', '{{json .Server.Components}}')).toContain('v2.3.4+ts.')
    expect(await docker('run', '--rm', ...quietly, image, 'echo', 'hello')).toBe('hello')
    expect(await readdir(join(dir, 'd/data/containerd/daemon'))).toContain('io.containerd.metadata.v1.level')
  })

  // dockerd asks three times, three seconds each, before it believes that a containerd is gone.
  test('it is restarted when it is killed, and containers go on', async () => {
    await docker('run', '--detach', '--name', 'through', ...quietly, image, 'sleep', '1000')
    const pid = await docker('inspect', '--format', '{{.State.Pid}}', 'through')
    const first = (await containerdPid()) ?? 0
    process.kill(first, 'SIGKILL')
    await eventually('another one runs', async () => ((await containerdPid()) ?? first) !== first || undefined, 30_000)
    await eventually('an exec is possible', async () =>
      (await dockerd.docker(['exec', 'through', 'true'])).code === 0 ? true : undefined,
    )
    expect(await docker('inspect', '--format', '{{.State.Pid}}', 'through')).toBe(pid)
    await docker('stop', '--time', '0', 'through')
    expect(await docker('wait', 'through')).toBe('137')
    await docker('rm', 'through')
  })
})

// dockerd makes its exit codes of the runtime's words, of which it knows those of runc. Needs root.
describe.runIf(isRoot)('a program that cannot be started', () => {
  interface Answer {
    runtime: string
    program: string
    code: number
    said: string | undefined
  }

  async function answers(command?: string): Promise<Answer[]> {
    const env = await startEnvironment(command === undefined ? {} : { command })
    const found: Answer[] = []
    try {
      const args = ['--add-runtime', 'crun=/usr/bin/crun']
      const dockerd = await startDockerd({ dir: join(env.dir, 'docker'), containerd: env.daemon.address, args })
      try {
        await dockerd.mustDocker(['pull', env.ref])
        for (const runtime of ['runc', 'crun'])
          for (const program of ['no-such-command', '/no/such', '/etc']) {
            const run = await dockerd.docker(['run', '--rm', '--runtime', runtime, ...quietly, env.ref, program])
            // Before it, the shim of this project passes on what the runtime printed; docker may complain after it that nothing ran.
            const said = run.stderr.split('\n').find((line) => line.startsWith('docker: '))
            found.push({ runtime, program, code: run.code, said })
          }
      } finally {
        await dockerd.stop()
      }
    } finally {
      await env.close()
    }
    return found
  }

  beforeAll(prepareCgroups)

  test('is told as with containerd', async () => {
    const ours = await answers()
    expect(ours.map(({ code }) => code)).toEqual([127, 127, 126, 125, 125, 125])
    for (const { said } of ours) expect(said).toContain('failed to create shim task')
    expect(ours).toEqual(await answers('containerd'))
  })
})
