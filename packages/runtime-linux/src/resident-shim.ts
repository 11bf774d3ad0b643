import { createHash } from 'node:crypto'
import { closeSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { UnknownError } from '@containerd-ts/interface'
import { createPipe, isServed, type Reaper, raiseOomScore, readToEnd, spawn } from '@containerd-ts/linux'
import type { Bootstrap } from './bootstrap.js'
import { type Handover, passOn } from './kept-descriptors.js'

export interface ResidentShim {
  /** Program and first arguments of our shim. */
  program: readonly [string, readonly string[]]
  namespace: string
  /** The container that it is started for; in its command line, for people. */
  id: string
  /** The daemon's gRPC socket, which tells the shims of several daemons apart. */
  daemonAddress: string
  /** Of the shim: one of another release goes on with what it has, and gets nothing new. */
  release: string
  socketDir: string
  cwd: string
  env: Readonly<Record<string, string | undefined>>
  debug: boolean
  reaper: Reaper
  /** Descriptors of the processes that it takes over; they stay the caller's. */
  handover: readonly Handover[]
}

/** Who asks for resident shims, and where these listen. */
export type ResidentPlace = Pick<ResidentShim, 'namespace' | 'daemonAddress' | 'release' | 'socketDir'>

const defaultSocketDir = '/run/containerd/s'
// No identifier has a slash, so this is no container's id.
const residentGroup = '/resident'

/** The socket of the resident shim of a namespace. */
function socketOf({ namespace, daemonAddress, release, socketDir }: ResidentPlace): string {
  const name = createHash('sha256')
    .update(join(daemonAddress, namespace, residentGroup, release))
    .digest('hex')
  return join(socketDir === '' ? defaultSocketDir : socketDir, name)
}

/** The address of the resident shim of a namespace, whether it runs or not. */
export function residentAddress(place: ResidentPlace): string {
  return `unix://${socketOf(place)}`
}

/**
 * Our own shim for a whole namespace: the one that runs, or a new one. The `start` action would come to the same, but it is a Node
 * program too and takes as long to start as the shim itself.
 *
 * @throws UnknownError with the shim's words.
 */
export async function startResidentShim(options: ResidentShim): Promise<Bootstrap> {
  const socket = socketOf(options)
  if (!(await isServed(socket))) {
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 })
    await startServer(options, socket)
  }
  return { version: 3, address: residentAddress(options), protocol: 'ttrpc' }
}

async function startServer(options: ResidentShim, socket: string): Promise<void> {
  const [file, first] = options.program
  const args = [...first, '-namespace', options.namespace, '-id', options.id, '-address', `unix://${socket}`, '-socket', socket]
  if (options.debug) args.push('-debug')
  const ready = createPipe()
  const passed = passOn(options.handover, 4)
  const env = {
    ...options.env,
    CONTAINERD_SHIM_SCOPE: 'namespace',
    CONTAINERD_SHIM_READY_FD: '3',
    ...passed.env,
  }
  const stdio = [null, null, null, ready.write, ...passed.descriptors]
  let exit: Promise<number>
  try {
    const pid = spawn(file, { args, env, cwd: options.cwd, stdio, group: 'session' })
    // It outlives the daemon, which collects it only if it ends before.
    exit = options.reaper.wait(pid, { keepAlive: false })
    raiseOomScore(pid, process.pid)
  } catch (error) {
    closeSync(ready.read)
    throw error
  } finally {
    closeSync(ready.write)
  }
  const word = (await readToEnd(ready.read)).toString()
  if (word !== 'ok') throw new UnknownError(word === '' ? `the shim ended with status ${await exit}` : word)
}
