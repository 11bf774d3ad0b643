import { accessSync, closeSync, constants, existsSync, openSync, readFileSync, readSync, realpathSync } from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { FailedPreconditionError, InvalidArgumentError, NotFoundError } from '@containerd-ts/interface'
import { findExecutable } from '@containerd-ts/linux'

/** A shim as a program to start. */
export interface ShimBinary {
  /** Absolute path, as it is kept in the bundle. */
  readonly path: string
  /** True for our own shim, which may serve a whole namespace. */
  readonly own: boolean
  /** Tells one release of our own shim from the next: after an upgrade new containers get the new one. */
  readonly release: string
}

/** The file name of our own shim. */
export const ownShimName = 'containerd-shim'

const ownNames: ReadonlySet<string> = new Set(['', 'io.containerd.runc.v2', 'io.containerd.runtime.v1.linux'])

/** Finds the shim for a runtime name, which is like `io.containerd.runc.v2`, or the absolute path of a shim. Results are kept. */
export function createShimFinder(configured: string): (runtime: string) => ShimBinary {
  const found = new Map<string, ShimBinary>()
  return (runtime) => {
    const known = found.get(runtime)
    if (known !== undefined) return known
    const binary = findShim(runtime, configured)
    found.set(runtime, binary)
    return binary
  }
}

function findShim(runtime: string, configured: string): ShimBinary {
  if (ownNames.has(runtime)) {
    const path = findOwnShim(configured)
    return shimAt(path)
  }
  if (runtime.startsWith('/')) {
    if (!existsSync(runtime))
      throw new InvalidArgumentError(`invalid custom binary path: stat ${runtime}: no such file or directory`)
    return foreign(runtime)
  }
  const name = shimName(runtime)
  const here = resolve(name)
  for (const candidate of [here, join(daemonDir(), name)]) if (isExecutable(candidate)) return foreign(candidate)
  try {
    return foreign(findExecutable(name))
  } catch (cause) {
    throw new NotFoundError(
      `runtime ${JSON.stringify(runtime)} binary not installed ${JSON.stringify(name)}: file does not exist`,
      { cause },
    )
  }
}

/** The shim at a path where our own is expected. */
function shimAt(path: string): ShimBinary {
  return isNodeScript(path) ? { path, own: true, release: releaseOf(path) } : foreign(path)
}

function foreign(path: string): ShimBinary {
  return { path, own: false, release: '' }
}

function releaseOf(path: string): string {
  const file = realpathSync(path)
  let version: unknown
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(dirname(file), '../package.json'), 'utf8'))
    if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) version = manifest.version
  } catch {
    // Installed without its package: the place must do.
  }
  return `${file}@${version}`
}

/** `io.containerd.foo.v1` is served by `containerd-shim-foo-v1`. */
function shimName(runtime: string): string {
  const parts = runtime.split('.')
  const [last, previous] = [parts.at(-1), parts.at(-2)]
  if (runtime.includes('/') || parts[0] === '' || !last || !previous) {
    throw new InvalidArgumentError(
      `invalid runtime name ${runtime}, correct runtime name should be either format like \`io.containerd.runc.v2\` or a full path to the binary`,
    )
  }
  return `containerd-shim-${previous}-${last}`
}

function findOwnShim(configured: string): string {
  if (configured !== '') {
    if (!isExecutable(configured))
      throw new FailedPreconditionError(`the configured shim ${JSON.stringify(configured)} cannot be executed`)
    return resolve(configured)
  }
  const beside = daemonDir()
  const candidates = [
    join(beside, ownShimName),
    // In a workspace or an installation from npm, the shim is a package of its own.
    join(beside, '../../containerd-shim/bin', ownShimName),
  ]
  for (const candidate of candidates) if (isExecutable(candidate)) return candidate
  // Systems with the Go containerd have a program of that name, which speaks another protocol.
  for (const dir of (process.env['PATH'] ?? '').split(delimiter)) {
    const candidate = join(dir, ownShimName)
    if (dir !== '' && isExecutable(candidate) && isNodeScript(candidate)) return candidate
  }
  throw new NotFoundError('runtime "io.containerd.runc.v2" binary not installed "containerd-shim": file does not exist')
}

/** True for a file that Node is to run. */
export function isNodeScript(path: string): boolean {
  const start = Buffer.alloc(64)
  const fd = openSync(path, 'r')
  try {
    readSync(fd, start, 0, start.length, 0)
  } finally {
    closeSync(fd)
  }
  return start.toString('latin1').startsWith('#!/usr/bin/env node')
}

function daemonDir(): string {
  const script = process.argv[1]
  if (script === undefined) return process.cwd()
  try {
    return dirname(realpathSync(script))
  } catch {
    return dirname(resolve(script))
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
