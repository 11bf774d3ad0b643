import { createHash } from 'node:crypto'
import { join } from 'node:path'

const scheme = 'unix://'

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
  return `${scheme}${path}`
}

export function fromAddress(address: string): string {
  return address.startsWith(scheme) ? address.slice(scheme.length) : address
}
