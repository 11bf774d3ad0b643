import { writeSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanUp } from './delete.js'
import { type Flags, parseFlags } from './flags.js'
import { printInfo, printVersion } from './info.js'
import { announce, runServer } from './server.js'
import { start } from './start.js'

const script = fileURLToPath(import.meta.url)

/** Carries out one invocation. True when the process shall go on, to serve. */
async function run(flags: Flags): Promise<boolean> {
  if (flags.version) printVersion()
  else if (flags.info) await printInfo()
  else if (flags.namespace === '') throw new Error('shim namespace cannot be empty')
  else return act(flags)
  return false
}

async function act(flags: Flags): Promise<boolean> {
  switch (flags.action) {
    case 'start':
      ignoreTermination()
      await start(flags, script)
      return false
    case 'delete':
      ignoreTermination()
      await cleanUp(flags)
      return false
    case '':
      await runServer(flags)
      return true
    default:
      throw new Error(`unknown action ${JSON.stringify(flags.action)}`)
  }
}

// A daemon that is told to end must not tear a start or a clean-up with it: it would leave half of one.
function ignoreTermination(): void {
  process.on('SIGTERM', () => {})
  process.on('SIGINT', () => {})
}

async function main(): Promise<void> {
  try {
    if (!(await run(parseFlags(process.argv.slice(2))))) process.exit(0)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    announce(message)
    writeSync(2, `${basename(process.argv[1] ?? script)}: ${message}\n`)
    process.exit(1)
  }
}

// Whatever Node wants to say would be taken for a part of the answer.
process.removeAllListeners('warning')
void main()
