import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unmountSync } from '@containerd-ts/linux'
import { type ExecOptions, eventually, exec, mustExec, type Output, stopProcess } from './process.js'

export interface DockerdOptions {
  /** Everything lies below: data, state, socket, log. */
  dir: string
  /** Socket of a containerd that runs. Without it dockerd starts the `containerd` that it finds in PATH. */
  containerd?: string
  /** More arguments. */
  args?: readonly string[]
  env?: NodeJS.ProcessEnv
}

/** Debian's dockerd without a network of its own. */
export interface TestDockerd {
  readonly pid: number
  /** The arguments that make Debian's docker talk to this dockerd. */
  readonly client: readonly string[]
  /** Where a containerd of its own has its configuration, socket and directories. */
  readonly managed: string
  log(): Promise<string>
  docker(args: readonly string[], options?: ExecOptions): Promise<Output>
  /** As `docker`, but anything other than success is an error. Without the last line feed. */
  mustDocker(args: readonly string[], options?: ExecOptions): Promise<string>
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** Debian's docker, whatever else of that name comes first in PATH. */
export const docker = '/usr/bin/docker'

/** Starts dockerd and waits until it answers. */
export async function startDockerd(options: DockerdOptions): Promise<TestDockerd> {
  const { dir } = options
  await mkdir(dir, { recursive: true })
  const [data, state, socket, logPath] = ['data', 'exec', 'docker.sock', 'dockerd.log'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
    string,
  ]
  const args = ['--data-root', data, '--exec-root', state, '--host', `unix://${socket}`, '--pidfile', join(dir, 'docker.pid')]
  const config = join(dir, 'daemon.json')
  await writeFile(config, '{}')
  args.push('--config-file', config, '--bridge', 'none', '--iptables=false', '--ip6tables=false')
  if (options.containerd !== undefined) args.push('--containerd', options.containerd)
  const temp = join(dir, 'tmp')
  await mkdir(temp, { recursive: true })
  const child = spawn('dockerd', [...args, ...(options.args ?? [])], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: temp, ...options.env },
  })
  const log = createWriteStream(logPath, { flags: 'a' })
  child.stdout.pipe(log, { end: false })
  child.stderr.pipe(log, { end: false })
  const client = ['--config', join(dir, 'client'), '--host', `unix://${socket}`]
  try {
    await eventually(
      'dockerd answers',
      async () => {
        if (child.exitCode !== null) throw new Error(`dockerd ended with ${child.exitCode}`)
        return (await exec(docker, [...client, 'version'])).code === 0 ? true : undefined
      },
      20_000,
    )
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${error}\n${await readFile(logPath, 'utf8')}`)
  }
  return {
    pid: child.pid ?? 0,
    client,
    managed: join(state, 'containerd'),
    log: () => readFile(logPath, 'utf8'),
    docker: (args, execOptions) => exec(docker, [...client, ...args], execOptions),
    mustDocker: async (args, execOptions) => (await mustExec(docker, [...client, ...args], execOptions)).replace(/\n$/, ''),
    stop: async (signal) => {
      const code = await stopProcess(child, signal, 20_000)
      // What dockerd mounts for itself and listens on stays after a crash, and the host's network in any case.
      for (const path of [join(state, 'netns/default'), data]) tryUnmount(path)
      await rm(join(state, 'libnetwork'), { recursive: true, force: true })
      return code
    },
  }
}

// On this very thread, which may have a mount namespace of its own.
function tryUnmount(path: string): void {
  try {
    unmountSync(path)
  } catch {
    // Nothing is mounted there.
  }
}
