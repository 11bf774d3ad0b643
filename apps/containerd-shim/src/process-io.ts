import type { WindowSize } from '@containerd-ts/linux'
import type { CreateOptions } from './runc.js'
import { type AdoptedStdio, adoptStdio, openStdio, type StdioDeps, type StdioPaths, type ProcessIo as Streams } from './stdio.js'
import { adoptTerminal, openTerminal, type TerminalIo } from './terminal-io.js'

export type { StdioDeps } from './stdio.js'

/** The input and output of one process, with or without a terminal. */
export interface ProcessIo {
  /** Calls the runtime with the streams and connects them to the started process. */
  run(runtime: (options: CreateOptions) => Promise<number>): Promise<number>
  closeStdin(): void
  /** To be called when the process has exited. */
  exited(): void
  /** Waits, 10 s at most, until all output is passed on, and lets go of everything. */
  finish(): Promise<void>
  /** Lets go of everything now. */
  close(): Promise<void>
  readonly terminal: TerminalIo | undefined
}

const drainLimitMs = 10_000

/** @throws UnknownError when a stream cannot be opened. */
export async function openProcessIo(paths: StdioPaths & { terminal: boolean }, deps: StdioDeps): Promise<ProcessIo> {
  const terminal = paths.terminal ? await openTerminal(paths, deps) : undefined
  return over(terminal ?? (await openStdio(paths, deps)), terminal)
}

/**
 * Takes over the input and output of a process that another shim has started. `master` is the controlling side of its terminal; without
 * it the terminal of the process has hung up.
 */
export function adoptProcessIo(process: AdoptedStdio & { terminal: boolean }, master: number | undefined): ProcessIo {
  const terminal = process.terminal ? adoptTerminal(process, master) : undefined
  return over(terminal ?? adoptStdio(process), terminal)
}

function over(streams: Streams, terminal: TerminalIo | undefined): ProcessIo {
  return {
    terminal,
    run: async (runtime) => {
      const pid = await runtime({ stdio: streams.child, consoleSocket: terminal?.consoleSocket })
      streams.handedOver()
      await terminal?.connect()
      return pid
    },
    closeStdin: () => streams.closeStdin(),
    exited: () => streams.exited(),
    finish: async () => {
      await within(drainLimitMs, streams.drained)
      await streams.close()
    },
    close: () => streams.close(),
  }
}

/** Without a terminal nothing happens. */
export function resize(io: ProcessIo, size: WindowSize): void {
  io.terminal?.resize(size)
}

async function within(limitMs: number, promise: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs)
  })
  await Promise.race([promise, limit])
  clearTimeout(timer)
}
