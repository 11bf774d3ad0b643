import { chmodSync, closeSync, openSync, rmSync, unlinkSync, writeSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { TaskDefinition as TaskV2 } from '@containerd-ts/api/containerd/task/v2/task'
import { TaskDefinition as TaskV3 } from '@containerd-ts/api/containerd/task/v3/task'
import { toStatus } from '@containerd-ts/interface'
import { createReaper, isErrno, isServed, lockFile, peerCredentials, setChildSubreaper } from '@containerd-ts/linux'
import { serveTtrpc, type TtrpcServer } from '@containerd-ts/ttrpc'
import { adoptAll } from './adoption.js'
import { createExitTracker } from './exit-tracker.js'
import type { Flags } from './flags.js'
import { bundleLog } from './log.js'
import { keepSmall } from './memory.js'
import { createPublisher } from './publisher.js'
import { createPrograms } from './runc.js'
import { toAddress } from './socket-address.js'
import { createTaskService, type TaskService } from './task-service.js'

// A resident shim that has neither containers nor a containerd connected to it is of no use to anybody.
const abandonedAfterMs = 10_000
const flushLimitMs = 5000

/** Serves the containers of one shim until it is told to end. Settles when the socket accepts connections. */
export async function runServer(flags: Flags): Promise<void> {
  const bundle = process.cwd()
  const scope = process.env['CONTAINERD_SHIM_SCOPE']
  const resident = scope === 'namespace'
  let tasks: TaskService | undefined
  // The bundle that it was started for may be gone; then any other is as good.
  const bundles = () => [bundle, ...(tasks?.bundles() ?? [])]
  const log = bundleLog(bundles, flags.debug, { namespace: flags.namespace, runtime: 'io.containerd.runc.v2' })
  // A resident shim outlives the bundle that it was started for.
  if (resident) process.chdir('/')

  process.on('uncaughtException', (error) => log('error', 'uncaught exception', { error }))
  process.on('unhandledRejection', (error) => log('error', 'unhandled rejection', { error }))
  let held: () => object = () => ({})
  process.on('SIGUSR1', () =>
    log('info', 'diagnostics', {
      handles: process.getActiveResourcesInfo().join(' '),
      memory: JSON.stringify(process.memoryUsage()),
      held: JSON.stringify(held()),
    }),
  )

  const server = await listen(flags.socket)
  if (server === undefined) {
    // Another shim was quicker; it is the one to use.
    announce('')
    return
  }
  setChildSubreaper()
  const exits = createExitTracker()
  const reaper = createReaper({ scope: 'all', onExit: exits.onExit })
  const publisher = createPublisher({ address: process.env['TTRPC_ADDRESS'] ?? '', namespace: flags.namespace, log })
  held = () => ({ ...tasks?.counts(), ...exits.counts(), programs: reaper.waiting, events: publisher.waiting })

  let ttrpc: TtrpcServer | undefined
  let ending = false
  const end = async (graceful: boolean) => {
    if (ending) return
    ending = true
    // From here on another shim may take the address.
    rmSync(flags.socket, { force: true })
    if (graceful) await Promise.race([ttrpc?.close(), afterMs(flushLimitMs)])
    else ttrpc?.destroy()
    await publisher.flush(flushLimitMs)
    if (!resident) rmSync(join(bundle, 'address'), { force: true })
    process.exit(0)
  }

  let connections = 0
  let abandoned: NodeJS.Timeout | undefined
  const watchAbandonment = () => {
    clearTimeout(abandoned)
    if (resident && connections === 0 && tasks?.size === 0) abandoned = setTimeout(() => end(true), abandonedAfterMs)
  }
  tasks = createTaskService({
    namespace: flags.namespace,
    reaper,
    programs: createPrograms(),
    exits,
    log,
    publisher,
    // After the answer is written.
    onShutdown: () => void setImmediate(end, true),
    onIdle: watchAbandonment,
    onDeleted: keepSmall().onDone,
    // containerd's own daemon clears away what a killed shim leaves; this project's has another one take over.
    keepRecords: scope !== undefined,
  })
  if (scope !== undefined) adoptAll(tasks, bundle, toAddress(flags.socket), log)

  const self = { uid: process.getuid?.(), gid: process.getgid?.() }
  ttrpc = await serveTtrpc(server, {
    services: [
      { definition: TaskV2, handlers: tasks.handlers },
      { definition: TaskV3, handlers: tasks.handlers },
    ],
    context: (_metadata, signal) => ({ signal }),
    toStatus,
    verifyPeer: (socket) => {
      const peer = peerCredentials(socket)
      return peer.uid === self.uid && peer.gid === self.gid
    },
    onConnections: (count) => {
      connections = count
      watchAbandonment()
    },
  })
  watchAbandonment()
  process.on('SIGTERM', () => end(false))
  process.on('SIGINT', () => end(false))
  announce('')
}

/**
 * Listens on a socket path, in place of a shim that died there. Undefined when a living one has it. The lock keeps two shims that
 * start at the same time from removing each other's socket.
 */
async function listen(path: string): Promise<Server | undefined> {
  const lock = openSync(dirname(path), 'r')
  try {
    await take(lock)
    const server = createServer()
    if (await bindTo(server, path)) return server
    if (await isServed(path)) return undefined
    unlinkSync(path)
    return (await bindTo(server, path)) ? server : undefined
  } finally {
    closeSync(lock)
  }
}

async function take(lock: number): Promise<void> {
  for (;;) {
    try {
      return lockFile(lock)
    } catch (error) {
      if (!isErrno(error, 'EAGAIN')) throw error
      await afterMs(1)
    }
  }
}

function bindTo(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      if (isErrno(error, 'EADDRINUSE')) resolve(false)
      else reject(error)
    })
    server.listen(path, () => {
      server.removeAllListeners('error')
      chmodSync(path, 0o600)
      resolve(true)
    })
  })
}

/** Tells the start helper, which waits on descriptor 3, that connections are accepted, or why they never will be. */
export function announce(problem: string): void {
  if (process.env['CONTAINERD_SHIM_READY_FD'] !== '3') return
  delete process.env['CONTAINERD_SHIM_READY_FD']
  try {
    writeSync(3, problem === '' ? 'ok' : problem)
    closeSync(3)
  } catch {
    // The helper is gone; the socket speaks for itself.
  }
}

function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
