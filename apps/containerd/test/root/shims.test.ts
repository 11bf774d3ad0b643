import { readdir, readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { eventually, ourDaemon, prepareCgroups } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, startEnvironment } from './environment.js'

const debianShim = '/usr/bin/containerd-shim-runc-v2'
const ourShim = resolve(ourDaemon, '../../../containerd-shim/bin/containerd-shim')

const shimManager = (line: string) => `version = 2
[plugins."io.containerd.shim.v1.manager"]
  ${line}
`

interface Combination {
  name: string
  /** The daemon's program and configuration; by default ours with its own. */
  command?: string
  config?: string
  /** Arguments of `ctr run`. */
  runtime: readonly string[]
  /** Whether another shim takes over when one is killed. */
  takenOver?: boolean
}

const combinations: readonly Combination[] = [
  { name: "containerd's shim by its path below our daemon", runtime: ['--runtime', debianShim] },
  { name: "containerd's shim by configuration below our daemon", config: shimManager(`shim = "${debianShim}"`), runtime: [] },
  {
    name: "our shim by its path below Debian's containerd",
    command: 'containerd',
    runtime: ['--runtime', ourShim],
  },
  {
    name: 'our shim with crun by configuration',
    config: shimManager('oci_runtime = "crun"\n  shim_idle_timeout = "1s"'),
    runtime: [],
    takenOver: true,
  },
]

// Shims and daemons of both projects with each other, driven by Debian's ctr. Needs root.
describe.runIf(process.getuid?.() === 0).each(combinations)('$name', ({ name, command, config, runtime, takenOver }) => {
  let env: Environment
  const ns = `shims-${process.pid}-${combinations.findIndex((combination) => combination.name === name)}`
  const ctr = (...args: string[]) => env.daemon.mustCtr(['-n', ns, ...args])
  const run = (options: readonly string[], id: string, ...program: string[]) =>
    env.daemon.ctr(['-n', ns, 'run', ...runtime, ...options, env.ref, id, ...program])
  const removed = async (id: string) => {
    await ctr('tasks', 'rm', '-f', id)
    await ctr('containers', 'rm', id)
  }
  const shows = (id: string, state: RegExp) =>
    eventually(
      `${id} is ${state}`,
      async () => (await ctr('tasks', 'ls')).match(new RegExp(`${id}\\s+\\d+\\s+${state.source}`)) ?? undefined,
    )

  /** The shims of the namespace. */
  const shims = async () => {
    const found: number[] = []
    for (const pid of await readdir('/proc')) {
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
      if (words[words.indexOf('-namespace') + 1] === ns) found.push(Number(pid))
    }
    return found
  }

  beforeAll(async () => {
    prepareCgroups()
    env = await startEnvironment({
      ...(command === undefined ? {} : { command }),
      ...(config === undefined ? {} : { config }),
    })
    await ctr('images', 'pull', '--plain-http', env.ref)
  })
  afterAll(async () => {
    await eventually('the shims have ended', async () => ((await shims()).length === 0 ? true : undefined))
    await env.close()
  })

  test('runs a container to its end', async () => {
    expect(await run(['--rm'], 'short', 'sh', '-c', 'echo out; echo err >&2; exit 7')).toMatchObject({
      code: 7,
      stdout: 'out\n',
      stderr: expect.stringContaining('err\n'),
    })
    const output = await run(['--rm'], 'long', 'seq', '100000')
    expect(output.stdout).toBe(Array.from({ length: 100_000 }, (_, n) => `${n + 1}\n`).join(''))
    expect(await run(['--rm'], 'missing', 'no-such-command')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/executable file.* not found in \$PATH/),
    })
  })

  test('exec, ps, pause, resume, metrics, kill', async () => {
    expect(await run(['-d'], 'host', 'sleep', '1000')).toMatchObject({ code: 0 })
    expect(await ctr('tasks', 'exec', '--exec-id', 'x', 'host', 'echo', 'inside')).toBe('inside\n')
    expect(await env.daemon.ctr(['-n', ns, 'tasks', 'exec', '--exec-id', 'x', 'host', 'sh', '-c', 'exit 9'])).toMatchObject({
      code: 9,
    })
    await ctr('tasks', 'exec', '--detach', '--exec-id', 'sleeper', 'host', 'sleep', '1000')
    const table = (await ctr('tasks', 'ps', 'host')).trim().split('\n')
    expect(table.length).toBe(3)
    expect(table.join('\n')).toContain('sleeper')
    await ctr('tasks', 'pause', 'host')
    await shows('host', /PAUSED/)
    await ctr('tasks', 'resume', 'host')
    await shows('host', /RUNNING/)
    expect(await ctr('tasks', 'metrics', 'host')).toMatch(/memory\.usage_in_bytes\s+[1-9]/)
    await ctr('tasks', 'kill', '-s', 'SIGKILL', 'host')
    await shows('host', /STOPPED/)
    expect(await env.daemon.ctr(['-n', ns, 'tasks', 'rm', 'host'])).toMatchObject({
      stderr: expect.stringContaining('exit code 137'),
    })
    await ctr('containers', 'rm', 'host')
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)('a container survives the end of the daemon by %s', async (signal) => {
    await run(['-d'], 'survivor', 'sh', '-c', 'trap "exit 17" TERM; while true; do sleep 0.1; done')
    await env.restart(signal)
    await shows('survivor', /RUNNING/)
    expect(await ctr('tasks', 'exec', '--exec-id', 'after', 'survivor', 'echo', 'still here')).toBe('still here\n')
    await ctr('tasks', 'kill', '-s', 'SIGTERM', 'survivor')
    await shows('survivor', /STOPPED/)
    expect(await env.daemon.ctr(['-n', ns, 'tasks', 'rm', 'survivor'])).toMatchObject({
      stderr: expect.stringContaining('exit code 17'),
    })
    await ctr('containers', 'rm', 'survivor')
  })

  test.runIf(takenOver)('what a killed shim leaves goes on', async () => {
    await run(['-d'], 'orphan', 'sleep', '1000')
    for (const pid of await shims()) process.kill(pid, 'SIGKILL')
    expect(await ctr('tasks', 'exec', '--exec-id', 'after', 'orphan', 'echo', 'still here')).toBe('still here\n')
    await removed('orphan')
  })

  test.runIf(!takenOver)('what a killed shim leaves is cleared away', async () => {
    await run(['-d'], 'orphan', 'sleep', '1000')
    for (const pid of await shims()) process.kill(pid, 'SIGKILL')
    await eventually('the task is gone', async () => ((await ctr('tasks', 'ls', '-q')).trim() === '' ? true : undefined))
    await ctr('containers', 'rm', 'orphan')
    const again = await eventually('it can be created again', async () => {
      const output = await run(['--rm'], 'orphan', 'echo', 'again')
      // containerd says that it is gone before it is.
      return output.stderr.includes('already exists') ? undefined : output
    })
    expect(again).toMatchObject({ code: 0, stdout: 'again\n', stderr: '' })
  })

  test('removes one that still runs', async () => {
    await run(['-d'], 'running', 'sleep', '1000')
    await removed('running')
  })
})
