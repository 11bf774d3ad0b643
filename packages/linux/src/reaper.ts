import { bind } from './libc.js'
import { exitStatus } from './process-descriptor.js'

const waitpid = bind('int waitpid(int pid, void *status, int options)')
const WNOHANG = 1

/** Which children a reaper collects. */
export interface ReaperOptions {
  /**
   * `own` collects only pids that were asked for, and gets along with `child_process`. `all` collects every child, also those that
   * this process inherited as a subreaper; nothing else in the process may then wait for children.
   */
  scope: 'own' | 'all'
  /** Hears of every collected exit, before `wait` settles. */
  onExit?: (pid: number, status: number) => void
}

/** Collects the exits of child processes. */
export interface Reaper {
  /**
   * The exit status of a child: its exit code, or 128 + n when signal n ended it. To be called in the same tick as its spawn.
   * This process stays alive while it waits, unless `keepAlive` is false: for a child that shall outlive it.
   */
  wait(pid: number, options?: { keepAlive?: boolean }): Promise<number>
  /** How many children are waited for. */
  readonly waiting: number
  /** Stops collecting; pending waits never settle. */
  close(): void
}

/** Starts to collect exits on SIGCHLD. */
export function createReaper(options: ReaperOptions): Reaper {
  const waiting = new Map<number, (status: number) => void>()
  const holding = new Set<number>()
  const status = Buffer.alloc(4)
  let keepAlive: NodeJS.Timeout | undefined

  const exited = (pid: number): void => {
    const code = exitStatus(status.readInt32LE())
    options.onExit?.(pid, code)
    const settle = waiting.get(pid)
    waiting.delete(pid)
    settle?.(code)
    if (holding.delete(pid) && holding.size === 0) {
      clearInterval(keepAlive)
      keepAlive = undefined
    }
  }
  const collect = (): void => {
    if (options.scope === 'all') {
      for (let pid = waitpid(-1, status, WNOHANG); pid > 0; pid = waitpid(-1, status, WNOHANG)) exited(pid)
    } else {
      for (const pid of [...waiting.keys()]) if (waitpid(pid, status, WNOHANG) === pid) exited(pid)
    }
  }
  process.on('SIGCHLD', collect)

  return {
    wait: (pid, { keepAlive: hold = true } = {}) =>
      new Promise((resolve) => {
        waiting.set(pid, resolve)
        if (!hold) return
        // Signal handlers alone do not keep Node running.
        holding.add(pid)
        keepAlive ??= setInterval(() => {}, 0x7fff_ffff)
      }),
    get waiting() {
      return waiting.size
    },
    close: () => {
      process.off('SIGCHLD', collect)
      clearInterval(keepAlive)
    },
  }
}
