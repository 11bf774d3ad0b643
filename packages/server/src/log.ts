import type { LogFields, Logger, LogLevel } from '@containerd-ts/plugin'

/** The log levels, the least severe first. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'panic'] as const
/** A log level as the configuration names it. */
export type ConfiguredLevel = (typeof logLevels)[number]
/** The form of log lines. */
export type LogFormat = 'text' | 'json'

/** What is logged, and how. */
export interface LogOptions {
  level: ConfiguredLevel
  format: LogFormat
  /** Receives whole lines. Default: standard error. */
  write?: (line: string) => void
}

/** A logger in containerd's formats: logfmt-like text or one JSON object a line. */
export function createLogger(options: LogOptions): Logger {
  const write = options.write ?? ((line) => process.stderr.write(line))
  const threshold = logLevels.indexOf(options.level)
  const format = options.format === 'json' ? jsonLine : textLine

  const logger = (bound: LogFields): Logger => {
    const at = (level: LogLevel) => {
      if (logLevels.indexOf(level) < threshold) return () => {}
      return (message: string, fields?: LogFields) => write(format(level, message, { ...bound, ...fields }))
    }
    return {
      trace: at('trace'),
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      with: (fields) => logger({ ...bound, ...fields }),
    }
  }
  return logger({})
}

function textLine(level: LogLevel, message: string, fields: LogFields): string {
  let line = `time="${new Date().toISOString()}" level=${level === 'warn' ? 'warning' : level} msg=${JSON.stringify(message)}`
  for (const [key, value] of Object.entries(fields)) line += ` ${key}=${quoteIfNeeded(show(value))}`
  return `${line}\n`
}

function jsonLine(level: LogLevel, message: string, fields: LogFields): string {
  const shown = Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? show(value) : value])
  return `${JSON.stringify({ ...Object.fromEntries(shown), level, msg: message, time: new Date().toISOString() })}\n`
}

function show(value: unknown): string {
  if (value instanceof Error) return value.stack !== undefined && isUnexpected(value) ? value.stack : value.message
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined')
}

// A stack helps with mistakes in the program; for errors that carry a code the message says all.
function isUnexpected(error: Error): boolean {
  return !('code' in error) && ['Error', 'TypeError', 'RangeError', 'ReferenceError', 'SyntaxError'].includes(error.name)
}

function quoteIfNeeded(text: string): string {
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text)
}
