import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export type LogLevel = 'debug' | 'info' | 'warning' | 'error'

/** Lines for whoever reads the `log` FIFO of a bundle, which is containerd. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void

/**
 * Logs to the FIFO of the first of several bundles that has a reader. It is opened for each line, so that nothing is held of bundles that
 * are gone, and never waited for: a line that nobody reads is dropped.
 */
export function bundleLog(bundles: () => Iterable<string>, debug: boolean, common: Readonly<Record<string, unknown>> = {}): Log {
  return (level, message, fields = {}) => {
    if (level === 'debug' && !debug) return
    const words = { time: new Date().toISOString(), level, msg: message, ...common, ...fields }
    const line = Object.entries(words).map(([key, value]) => `${key}=${quoted(value)}`)
    for (const bundle of bundles()) if (tryWrite(join(bundle, 'log'), `${line.join(' ')}\n`)) return
  }
}

function tryWrite(path: string, line: string): boolean {
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
    try {
      writeSync(fd, line)
    } finally {
      closeSync(fd)
    }
    return true
  } catch {
    // No reader, no FIFO, no bundle: there is nobody to tell here.
    return false
  }
}

function quoted(value: unknown): string {
  const text = value instanceof Error ? (value.stack ?? value.message) : String(value)
  return /^[A-Za-z0-9_./:@^+-]+$/.test(text) ? text : JSON.stringify(text)
}
