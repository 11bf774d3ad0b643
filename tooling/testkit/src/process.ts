import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

export interface Output {
  code: number
  stdout: string
  stderr: string
}

export interface ExecOptions {
  /** Written to standard input. */
  input?: string | Uint8Array
  /** The process is killed after this time. Default 60 s. */
  timeoutMs?: number
  cwd?: string
  env?: NodeJS.ProcessEnv
}

/** Runs a program to its end and gives back what it printed. A signal shows as 128 plus its number; a time-out as 124. */
export function exec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<Output> {
  return new Promise((resolve, reject) => {
    const spawnOptions: SpawnOptions = { stdio: ['pipe', 'pipe', 'pipe'] }
    if (options.cwd !== undefined) spawnOptions.cwd = options.cwd
    if (options.env !== undefined) spawnOptions.env = options.env
    const child = spawn(command, args, spawnOptions)
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, options.timeoutMs ?? 60_000)
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const status = timedOut ? 124 : (code ?? 128 + (signal === 'SIGKILL' ? 9 : 15))
      resolve({ code: status, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() })
    })
    // A program that does not read its input is no error.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
  })
}

/** As {@link exec}, but anything other than success is an error that shows the output. */
export async function mustExec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<string> {
  const output = await exec(command, args, options)
  if (output.code !== 0)
    throw new Error(
      `${command} ${args.join(' ')}: exit ${output.code}\n${output.stdout.slice(-1000)}${output.stderr.slice(-1000)}`,
    )
  return output.stdout
}

/** Stops a process: asks, then kills after `graceMs`. Gives back its exit code, null when a signal ended it. */
export function stopProcess(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode)
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
    child.once('exit', (code) => {
      clearTimeout(timer)
      resolve(code)
    })
    child.kill(signal)
  })
}

/** Tries again until `probe` gives something back. */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const found = await probe()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
