import { chmod, chown, mkdir, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isServed } from '@containerd-ts/linux'
import { ConfigFileError } from './config/toml.js'

const maxPathBytes = 104

/** Whom a socket belongs to. */
export interface SocketOwner {
  uid: number
  gid: number
}

/** The user and group of this process. */
export const processOwner: SocketOwner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

/**
 * Makes way for a socket at `path`: creates the parent directory (0770, owned by `owner`) and removes a socket that nobody serves.
 *
 * @throws ConfigFileError when the path is too long or another process serves it.
 */
export async function prepareSocket(path: string, owner: SocketOwner): Promise<void> {
  if (Buffer.byteLength(path) > maxPathBytes) throw new ConfigFileError(`${path}: unix socket path too long (> ${maxPathBytes})`)
  const directory = dirname(path)
  const made = await mkdir(directory, { recursive: true, mode: 0o770 })
  if (made !== undefined) await chown(directory, owner.uid, owner.gid)
  const existing = await stat(path).catch(() => undefined)
  if (existing === undefined) return
  if (!existing.isSocket()) throw new ConfigFileError(`${path}: exists and is not a socket`)
  if (await isServed(path)) throw new ConfigFileError(`${path}: address already in use by a running process`)
  await rm(path, { force: true })
}

/** Opens a bound socket to its owner and group. */
export async function protectSocket(path: string, owner: SocketOwner): Promise<void> {
  await chmod(path, 0o660)
  await chown(path, owner.uid, owner.gid)
}
