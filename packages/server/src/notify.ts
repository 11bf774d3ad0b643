import { sendUnixDatagram } from '@containerd-ts/linux'
import type { Logger } from '@containerd-ts/plugin'

/** Tells the service manager of a change (`READY=1`, `STOPPING=1`), where one asked by NOTIFY_SOCKET. */
export function notifyServiceManager(state: 'READY=1' | 'STOPPING=1', log: Logger): void {
  const socket = process.env['NOTIFY_SOCKET']
  if (socket === undefined || socket === '') return
  try {
    sendUnixDatagram(socket, Buffer.from(state))
  } catch (error) {
    log.warn('cannot notify the service manager', { state, error })
  }
}
