import { readFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { now } from '@containerd-ts/api'
import { DeleteResponse } from '@containerd-ts/api/containerd/task/v3/task'
import { validateIdentifier } from '@containerd-ts/interface'
import { createReaper } from '@containerd-ts/linux'
import type { Flags } from './flags.js'
import { unmountRootfs } from './rootfs.js'
import { createPrograms, createRunc, isGone, readPid } from './runc.js'
import { readOptions } from './runtime-options.js'
import { removeDeadSocket } from './socket-address.js'

const killed = 137

/** The `delete` action: clears away what a shim that died left of a container. Harmless when there is nothing. */
export async function cleanUp(flags: Flags): Promise<void> {
  validateIdentifier(flags.id, 'container id')
  const bundle = join(dirname(process.cwd()), flags.id)
  const runc = createRunc({
    reaper: createReaper({ scope: 'own' }),
    programs: createPrograms(),
    namespace: flags.namespace,
    bundle,
    options: readOptions(bundle),
  })
  try {
    await runc.delete(flags.id, true)
  } catch (error) {
    if (!isGone(error)) warn('failed to remove runc container', error)
  }
  try {
    await unmountRootfs(bundle)
  } catch (error) {
    warn('failed to unmount the root filesystem', error)
  }
  const socket = addressIn(bundle)?.replace(/^unix:\/\//, '')
  if (socket?.startsWith('/')) await removeDeadSocket(socket)
  const response = DeleteResponse.fromPartial({ pid: pidOf(bundle), exitStatus: killed, exitedAt: now() })
  writeSync(1, DeleteResponse.encode(response).finish())
}

/** The address of the dead shim, as this project's daemon, or one before 2.0, has kept it. */
function addressIn(bundle: string): string | undefined {
  try {
    const { address } = JSON.parse(readFileSync(join(bundle, 'bootstrap.json'), 'utf8')) as { address?: unknown }
    if (typeof address === 'string') return address
  } catch {
    // Not there, or damaged.
  }
  try {
    return readFileSync(join(bundle, 'address'), 'utf8')
  } catch {
    return undefined
  }
}

function pidOf(bundle: string): number {
  try {
    return readPid(join(bundle, 'init.pid'))
  } catch {
    return 0
  }
}

function warn(message: string, error: unknown): void {
  writeSync(2, `${message}: ${error instanceof Error ? error.message : String(error)}\n`)
}
