import { closeSync, readSync } from 'node:fs'
import { UnknownError } from '@containerd-ts/interface'
import { closeAll, createPipe, killQuietly, pollReadable, type Reaper, spawn } from '@containerd-ts/linux'

export interface OutputLoggerOptions {
  reaper: Reaper
  path: string
  args: readonly string[]
  containerId: string
  namespace: string
  /** Whether end of file without a byte on the ready pipe is an error. */
  readyRequired: boolean
}

/** A process of the client's choice that gets the container's output as descriptors 3 and 4. */
export interface OutputLogger {
  /** Writing ends for the container's output; the caller closes them. */
  readonly stdout: number
  readonly stderr: number
  /** Asks it to end, and after 12 s makes it. Settles when it is gone. */
  stop(): Promise<void>
}

const killAfterMs = 12_000

/** Starts a logger and waits until it says, on descriptor 5, that it is ready. */
export async function startOutputLogger(options: OutputLoggerOptions): Promise<OutputLogger> {
  const stdout = createPipe()
  const stderr = createPipe()
  const ready = createPipe()
  let pid: number
  try {
    pid = spawn(options.path, {
      args: options.args,
      env: { CONTAINER_ID: options.containerId, CONTAINER_NAMESPACE: options.namespace },
      stdio: [null, null, null, stdout.read, stderr.read, ready.write],
    })
  } catch (cause) {
    closeAll([stdout.read, stdout.write, stderr.read, stderr.write, ready.read, ready.write])
    throw new UnknownError(`failed to start logging binary: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  let gone = false
  const exit = options.reaper.wait(pid).then(() => {
    gone = true
  })
  closeAll([stdout.read, stderr.read, ready.write])
  const stop = () => {
    const signal = (name: NodeJS.Signals) => {
      if (!gone) killQuietly(pid, name)
    }
    signal('SIGTERM')
    const timer = setTimeout(() => signal('SIGKILL'), killAfterMs)
    return exit.finally(() => clearTimeout(timer))
  }
  if (!(await hasWord(ready.read)) && options.readyRequired) {
    closeAll([stdout.write, stderr.write])
    await stop()
    throw new UnknownError('logging binary did not call ready')
  }
  return { stdout: stdout.write, stderr: stderr.write, stop }
}

/** Waits for a byte, which is true, or the end, which is false. Closes the descriptor. */
function hasWord(fd: number): Promise<boolean> {
  return new Promise((resolve) => {
    const poll = pollReadable(fd, () => {
      poll.close()
      const count = readSync(fd, Buffer.alloc(1), 0, 1, null)
      closeSync(fd)
      resolve(count > 0)
    })
  })
}
