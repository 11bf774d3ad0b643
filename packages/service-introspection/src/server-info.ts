import { randomUUID } from 'node:crypto'
import { mkdir, readFile, readlink, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DataLossError, isErrno } from '@containerd-ts/interface'

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * The daemon's UUID, kept in a file of `directory` from the first request on.
 *
 * @throws DataLossError when the file holds something else.
 */
export async function serverUuid(directory: string): Promise<string> {
  const path = join(directory, 'uuid')
  try {
    const uuid = (await readFile(path, 'utf8')).trim()
    if (!pattern.test(uuid)) throw new DataLossError(`${path} does not hold a UUID`)
    return uuid
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
  const uuid = randomUUID()
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writeFile(`${path}.new`, uuid, { mode: 0o644, flush: true })
  await rename(`${path}.new`, path)
  return uuid
}

/** The inode number that identifies this process' pid namespace, 0 where there is none to see. */
export async function pidNamespace(): Promise<number> {
  const link = await readlink('/proc/self/ns/pid').catch(() => '')
  return Number(/\[(\d+)\]/.exec(link)?.[1] ?? 0)
}
