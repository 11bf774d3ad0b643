import { spawn } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { openPseudoTerminal, setWindowSize } from '@containerd-ts/linux'

export interface TerminalProgram {
  /** Everything on the screen so far. */
  output(): string
  /** Waits until the screen shows `text`. */
  shows(text: string | RegExp, timeoutMs?: number): Promise<void>
  type(text: string): void
  resize(columns: number, rows: number): void
  /** Exit code of the program. */
  readonly exited: Promise<number>
}

/** Runs a program on a real terminal of its own. */
export function runInTerminal(command: string, args: readonly string[]): TerminalProgram {
  const { master, path } = openPseudoTerminal()
  setWindowSize(master, { columns: 80, rows: 24 })
  const slave = openSync(path, constants.O_RDWR | constants.O_NOCTTY)
  const child = spawn('setsid', ['--ctty', '--wait', command, ...args], { stdio: [slave, slave, slave] })
  closeSync(slave)
  const stream = new ReadStream(master)
  let screen = ''
  let changed = () => {}
  stream.on('data', (chunk) => {
    screen += chunk.toString()
    changed()
  })
  // The last process on the terminal is gone.
  stream.on('error', () => stream.destroy())
  const exited = new Promise<number>((resolve) => {
    child.on('exit', (code) => {
      // What was written last may still be on its way.
      setTimeout(() => {
        stream.destroy()
        resolve(code ?? 255)
      }, 100)
    })
  })
  return {
    output: () => screen,
    shows: (text, timeoutMs = 30_000) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`"${text}" not shown within ${timeoutMs} ms: ${JSON.stringify(screen)}`)),
          timeoutMs,
        )
        changed = () => {
          if (typeof text === 'string' ? !screen.includes(text) : !text.test(screen)) return
          clearTimeout(timer)
          changed = () => {}
          resolve()
        }
        changed()
      }),
    type: (text) => void (stream as unknown as NodeJS.WritableStream).write(text),
    resize: (columns, rows) => setWindowSize(master, { columns, rows }),
    exited,
  }
}
