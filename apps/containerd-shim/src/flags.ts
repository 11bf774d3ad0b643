/** What the command line says. Flags have one dash (two are accepted) and come before the action word. */
export interface Flags {
  namespace: string
  id: string
  /** gRPC socket of containerd; for the server process, the address that it serves. */
  address: string
  publishBinary: string
  bundle: string
  /** Where the server process listens. */
  socket: string
  debug: boolean
  version: boolean
  info: boolean
  /** `start`, `delete`, or empty for the server process. */
  action: string
}

const strings: Readonly<Record<string, keyof Flags>> = {
  namespace: 'namespace',
  id: 'id',
  address: 'address',
  'publish-binary': 'publishBinary',
  bundle: 'bundle',
  socket: 'socket',
}
const booleans: Readonly<Record<string, keyof Flags>> = { debug: 'debug', v: 'version', version: 'version', info: 'info' }
// Flags of other shims that name what this one does not have.
const ignored = new Set(['debug-socket'])

/** @throws Error for an unknown flag or a flag without its value. */
export function parseFlags(args: readonly string[]): Flags {
  const flags: Flags = {
    namespace: '',
    id: '',
    address: '',
    publishBinary: '',
    bundle: '',
    socket: '',
    debug: false,
    version: false,
    info: false,
    action: '',
  }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? ''
    const match = /^--?([a-z-]+)(?:=(.*))?$/s.exec(arg)
    if (match === null) {
      flags.action = arg
      break
    }
    const [, name = '', inline] = match
    const boolean = booleans[name]
    if (boolean !== undefined) {
      Object.assign(flags, { [boolean]: inline !== 'false' })
      continue
    }
    const string = strings[name]
    if (string === undefined && !ignored.has(name)) throw new Error(`flag provided but not defined: -${name}`)
    const value = inline ?? args[++i]
    if (value === undefined) throw new Error(`flag needs an argument: -${name}`)
    if (string !== undefined) Object.assign(flags, { [string]: value })
  }
  return flags
}
