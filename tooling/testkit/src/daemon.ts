import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isServed } from '@containerd-ts/linux'
import { type ExecOptions, eventually, exec, mustExec, type Output, stopProcess } from './process.js'

/** The daemon of this workspace. */
export const ourDaemon = resolve(fileURLToPath(import.meta.url), '../../../../apps/containerd/bin/containerd')

export interface DaemonOptions {
  /** Everything lies below: root, state, socket, log, configuration. */
  dir: string
  /** The daemon's program. Default: that of this workspace. */
  command?: string
  /** TOML put into the configuration file. */
  config?: string
  env?: NodeJS.ProcessEnv
  /** Default `debug`. */
  logLevel?: string
}

export interface TestDaemon {
  readonly address: string
  readonly root: string
  readonly state: string
  readonly pid: number
  /** Milliseconds from start to the first answer. */
  readonly bootMs: number
  log(): Promise<string>
  /** Runs Debian's ctr against this daemon. */
  ctr(args: readonly string[], options?: ExecOptions): Promise<Output>
  /** As `ctr`, but anything other than success is an error. */
  mustCtr(args: readonly string[], options?: ExecOptions): Promise<string>
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** Starts a daemon on directories of its own and waits until it answers. */
export async function startDaemon(options: DaemonOptions): Promise<TestDaemon> {
  const { dir } = options
  await mkdir(dir, { recursive: true })
  const [root, state, address, config, logPath] = ['root', 'state', 'c.sock', 'config.toml', 'daemon.log'].map((name) =>
    join(dir, name),
  ) as [string, string, string, string, string]
  await writeFile(config, options.config ?? defaultConfig(dir))
  const temp = join(dir, 'tmp')
  await mkdir(temp, { recursive: true })
  const args = [
    '--config',
    config,
    '--root',
    root,
    '--state',
    state,
    '--address',
    address,
    '--log-level',
    options.logLevel ?? 'debug',
  ]
  const started = performance.now()
  const child = spawn(options.command ?? ourDaemon, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Shims that get no directory for their sockets from the daemon take that of the environment.
    env: { ...process.env, TMPDIR: temp, SHIM_SOCKET_DIR: join(dir, 's'), ...options.env },
  })
  const log = createWriteStream(logPath, { flags: 'a' })
  child.stdout.pipe(log, { end: false })
  child.stderr.pipe(log, { end: false })
  child.once('close', () => log.end())
  await answers(child, address, logPath)
  const bootMs = performance.now() - started

  const ctrArgs = (args: readonly string[]) => ['--address', address, ...args]
  return {
    address,
    root,
    state,
    pid: child.pid ?? 0,
    bootMs,
    log: () => readFile(logPath, 'utf8'),
    ctr: (args, execOptions) => exec('ctr', ctrArgs(args), execOptions),
    mustCtr: (args, execOptions) => mustExec('ctr', ctrArgs(args), execOptions),
    stop: async (signal) => {
      const code = await stopProcess(child, signal)
      // containerd leaves it to its next start.
      if (options.command !== undefined) await rm(`${address}.ttrpc`, { force: true })
      return code
    },
  }
}

/** Without containerd's CRI plugin, which wants a network, and with the sockets of shims among the rest. */
function defaultConfig(dir: string): string {
  return `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "${join(dir, 's')}"
`
}

async function answers(child: ChildProcess, address: string, logPath: string): Promise<void> {
  try {
    await eventually('the daemon answers', async () => {
      if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}`)
      const reachable = await isServed(address)
      return reachable ? true : undefined
    })
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${error}\n${await readFile(logPath, 'utf8')}`)
  }
}
