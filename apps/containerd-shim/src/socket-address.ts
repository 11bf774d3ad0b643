import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { isServed } from '@containerd-ts/linux'

/**
 * The socket of the shim that serves `group` of a namespace: clients such as `ctr shim` compute the same path. The hash keeps it
 * below the 106 bytes of a socket address, whatever the names.
 */
export function socketPath(socketDir: string, containerdAddress: string, namespace: string, group: string): string {
  const name = createHash('sha256')
    .update(join(containerdAddress, namespace, group))
    .digest('hex')
  return join(socketDir, name)
}

export function toAddress(path: string): string {
  return `unix://${path}`
}

/** Removes the socket of a shim that died, unless another one listens on it. */
export async function removeDeadSocket(path: string): Promise<void> {
  if (!(await isServed(path))) rmSync(path, { force: true })
}
