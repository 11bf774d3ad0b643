import { stop } from './signals.js'
import './builtins.js'
import './builtins-linux.js'
import { run } from './cli.js'

process.exitCode = await run(process.argv.slice(2), stop)
// Idle handles of libraries must not keep a stopped daemon alive.
process.exit()
