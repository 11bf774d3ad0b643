import { spawn } from 'node:child_process'
import { Failure } from './commands/command.js'

/** Runs npm with its messages shown. @throws Failure when it is not there or fails. */
export function npm(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', ['--no-audit', '--no-fund', '--loglevel=error', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    child.once('error', (error) => reject(new Failure(`npm cannot be run: ${error.message}`)))
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Failure(`npm ${args[0]} ended with status ${code}`))))
  })
}
