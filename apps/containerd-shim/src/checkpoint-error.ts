import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { UnknownError } from '@containerd-ts/interface'
import { RuncError } from './runc.js'

/** The error of a failed checkpoint: the first line of what the runtime printed, and where criu's own log is kept. */
export function checkpointError(error: unknown, workPath: string, bundle: string): unknown {
  if (!(error instanceof RuncError)) return error
  const kept = join(bundle, 'criu-dump.log')
  try {
    copyFileSync(join(workPath, 'dump.log'), kept)
  } catch {
    // criu was not reached; the runtime's words are all there is.
  }
  const [line = ''] = error.output.split('\n')
  return new UnknownError(`${line} path= ${kept}`)
}
