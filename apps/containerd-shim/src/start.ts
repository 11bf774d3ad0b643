import { closeSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BootstrapParams, BootstrapResult } from '@containerd-ts/api/containerd/runtime/bootstrap/v1/bootstrap'
import { Any } from '@containerd-ts/api/google/protobuf/any'
import { addToCgroup } from '@containerd-ts/cgroups'
import {
  createCoreSchedulingGroup,
  createPipe,
  createReaper,
  isErrno,
  isServed,
  killQuietly,
  raiseOomScore,
  readToEnd,
  spawn,
} from '@containerd-ts/linux'
import type { Flags } from './flags.js'
import { inheritKept, passOnKept } from './kept-environment.js'
import { decodeOptions, type RuncOptions, readOptions } from './runtime-options.js'
import { removeDeadSocket, socketPath, toAddress } from './socket-address.js'
import { groupOf } from './spec.js'

const defaultSocketDir = '/run/containerd/s'
// A socket address has 108 bytes, of which the Go side uses at most 106.
const maxSocketPath = 106
// No identifier has a slash, so this is no container's id.
const residentGroup = '/resident'

/**
 * The `start` action: makes sure that a shim serves the container and prints its address. A shim that is there already, for another
 * container of the same group, is used again.
 */
export async function start(flags: Flags, script: string): Promise<void> {
  const bundle = process.cwd()
  const input = readStdin()
  const params = bootstrapParams(input, flags.id)
  const socketDir = params?.socketDir ?? process.env['SHIM_SOCKET_DIR'] ?? defaultSocketDir
  const former = formerSocket()
  const path = former ?? socketPath(socketDir, flags.address, flags.namespace, groupFor(bundle, flags.id))
  if (Buffer.byteLength(path) >= maxSocketPath) throw new Error(`socket path ${path} is longer than ${maxSocketPath - 1} bytes`)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })

  if (!(await isServed(path))) {
    const options = former === undefined ? optionsOf(params, input) : readOptions(bundle)
    await startServer(flags, script, path, params, options, former !== undefined)
  }
  answer(bundle, toAddress(path), params)
}

/** Where the shim listened from which another one shall take over: in the bundles of its containers, that is what they have in common. */
function formerSocket(): string | undefined {
  const address = process.env['CONTAINERD_SHIM_ADDRESS']
  delete process.env['CONTAINERD_SHIM_ADDRESS']
  return address?.replace(/^unix:\/\//, '')
}

function groupFor(bundle: string, id: string): string {
  const scope = process.env['CONTAINERD_SHIM_SCOPE']
  if (scope === 'namespace') return residentGroup
  return scope === 'container' ? id : (groupOf(bundle) ?? id)
}

function readStdin(): Buffer {
  try {
    return readFileSync(0)
  } catch (error) {
    // Closed, or nothing to read without waiting.
    if (isErrno(error, 'EAGAIN') || isErrno(error, 'EBADF') || isErrno(error, 'ENXIO')) return Buffer.alloc(0)
    throw error
  }
}

// Old daemons send an Any of the options, whose first field is a string as well; the id tells them apart.
function bootstrapParams(input: Buffer, id: string): BootstrapParams | undefined {
  if (input.length === 0) return undefined
  try {
    const params = BootstrapParams.decode(input)
    return params.instanceId === id ? params : undefined
  } catch {
    return undefined
  }
}

function optionsOf(params: BootstrapParams | undefined, input: Buffer): RuncOptions | undefined {
  const anys =
    params === undefined ? (input.length === 0 ? [] : [Any.decode(input)]) : params.extensions.flatMap(({ value }) => value ?? [])
  const options = anys.find(({ typeUrl }) => typeUrl.endsWith('containerd.runc.v1.Options'))
  return options === undefined ? undefined : decodeOptions(options)
}

async function startServer(
  flags: Flags,
  script: string,
  path: string,
  params: BootstrapParams | undefined,
  options: RuncOptions | undefined,
  takesOver: boolean,
): Promise<void> {
  const args = ['-namespace', flags.namespace, '-id', flags.id, '-address', toAddress(path), '-socket', path]
  if (flags.debug) args.push('-debug')
  const ttrpcAddress = params?.containerdTtrpcAddress
  const ready = createPipe()
  const kept = passOnKept(inheritKept(), 4)
  const env: Readonly<Record<string, string | undefined>> = {
    ...process.env,
    ...(ttrpcAddress === undefined || ttrpcAddress === '' ? {} : { TTRPC_ADDRESS: ttrpcAddress }),
    GOMAXPROCS: '4',
    OTEL_SERVICE_NAME: `containerd-shim-${flags.id}`,
    CONTAINERD_SHIM_READY_FD: '3',
    ...kept.env,
  }
  const pid = spawn(process.execPath, {
    args: [...process.execArgv, script, ...args],
    env,
    stdio: [null, null, null, ready.write, ...kept.descriptors],
    group: 'process',
  })
  closeSync(ready.write)
  const reaper = createReaper({ scope: 'own' })
  const exit = reaper.wait(pid)
  try {
    raiseOomScore(pid, process.ppid)
    if (env['SCHED_CORE'] !== undefined && env['SCHED_CORE'] !== '') createCoreSchedulingGroup(pid)
    if (options !== undefined && options.shimCgroup !== '') joinCgroup(options.shimCgroup, pid, takesOver)
    const word = (await readToEnd(ready.read)).toString()
    if (word !== 'ok') throw new Error(word === '' ? `the shim ended with status ${await exit}` : word)
  } catch (error) {
    // Nobody would ever end it.
    killQuietly(pid)
    await exit
    await removeDeadSocket(path)
    throw error
  }
}

function joinCgroup(path: string, pid: number, takesOver: boolean): void {
  try {
    addToCgroup(path, pid)
  } catch (error) {
    // It may have been removed with the shim that was in it; what that shim left matters more.
    if (!takesOver) throw error
  }
}

function answer(bundle: string, address: string, params: BootstrapParams | undefined): void {
  if (params !== undefined) {
    if (params.socketDir !== undefined && params.socketDir !== '') linkSocketDir(bundle, params.socketDir)
    const result = BootstrapResult.fromPartial({ version: 3, address, protocol: 'ttrpc' })
    writeSync(1, BootstrapResult.encode(result).finish())
    return
  }
  // What daemons before 2.0 read when they are restarted.
  const temporary = join(bundle, `.address-${process.pid}`)
  writeFileSync(temporary, address)
  renameSync(temporary, join(bundle, 'address'))
  writeSync(1, address)
}

function linkSocketDir(bundle: string, socketDir: string): void {
  try {
    symlinkSync(socketDir, join(bundle, 's'))
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
  }
}
