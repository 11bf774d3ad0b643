import { isIP } from 'node:net'

/** True for a host of this machine alone; without port, an IPv6 address with its brackets or without. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'))
}
