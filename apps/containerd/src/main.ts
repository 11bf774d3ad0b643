import { stop } from './signals.js'
import './builtins.js'
import './builtins-linux.js'
import { run } from './cli.js'

// Idle handles of libraries must not keep a stopped daemon alive.
run(process.argv.slice(2), stop).then((code) => process.exit(code))
