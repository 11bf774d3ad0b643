import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, exec, mustExec, type Output, stopProcess } from '@containerd-ts/testkit'
import { type PackageRegistry, packWorkspace, servePackages } from '../src/index.js'

/** An empty directory outside of the workspace, and a registry that has the packages. */
export interface Outside {
  readonly dir: string
  /** Names of all packages. */
  readonly packages: readonly string[]
  /** Runs a program there, or in a directory below, with npm looking into the registry. @throws Error with the output when it fails. */
  run(command: readonly [string, ...string[]], cwd?: string): Promise<string>
  /** As `run`, but failure is an answer. */
  attempt(command: readonly [string, ...string[]], cwd?: string): Promise<Output>
  /** Makes a directory that a daemon or a program may use. */
  directory(name: string): Promise<string>
  close(): Promise<void>
}

export async function openOutside(): Promise<Outside> {
  const dir = await mkdtemp(join(tmpdir(), 'packed-'))
  // Programs of other users work here, too.
  await chmod(dir, 0o755)
  const tarballs = join(dir, 'tarballs')
  await mkdir(tarballs)
  const packages = await packWorkspace(tarballs)
  const registry: PackageRegistry = await servePackages(packages, dir)
  const env = { ...process.env, ...registry.env }
  return {
    dir,
    packages: [...packages.keys()],
    run: ([command, ...args], cwd = '.') => mustExec(command, args, { cwd: join(dir, cwd), env, timeoutMs: 120_000 }),
    attempt: ([command, ...args], cwd = '.') => exec(command, args, { cwd: join(dir, cwd), env, timeoutMs: 120_000 }),
    async directory(name) {
      const path = join(dir, name)
      await mkdir(path, { recursive: true })
      return path
    },
    async close() {
      await registry.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** A program that serves on a socket, stopped after `use`; its exit code must be 0. */
export async function whileServing(
  [command, ...args]: readonly [string, ...string[]],
  options: { cwd: string; address: string },
  use: (ctr: (...args: string[]) => Promise<string>) => Promise<void>,
): Promise<void> {
  const child: ChildProcess = spawn(command, args, { cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (printed += chunk))
  let code: number | null = null
  try {
    await eventually('it serves', async () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${printed}`)
      return (await exec('ctr', ['--address', options.address, '--connect-timeout', '1s', 'version'])).code === 0
        ? true
        : undefined
    })
    await use((...ctrArgs) => mustExec('ctr', ['--address', options.address, ...ctrArgs]))
  } finally {
    code = await stopProcess(child)
  }
  if (code !== 0) throw new Error(`it ended with ${code}: ${printed}`)
}
