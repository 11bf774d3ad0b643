import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isErrno, lockFile } from '@containerd-ts/linux'

/** Another daemon works on the same root. */
export class RootInUseError extends Error {
  override readonly name = 'RootInUseError'
}

/**
 * Claims a root directory for this process until `release()`; the kernel releases it when the process dies.
 *
 * @throws RootInUseError naming the other process.
 */
export function lockRoot(root: string): { release(): void } {
  const path = join(root, 'containerd.lock')
  const fd = openSync(path, 'a+', 0o600)
  try {
    lockFile(fd)
  } catch (error) {
    const holder = readFileSync(path, 'utf8').trim()
    closeSync(fd)
    if (!isErrno(error, 'EAGAIN')) throw error
    throw new RootInUseError(`root ${root} is in use by another daemon${holder === '' ? '' : ` (pid ${holder})`}`)
  }
  writeFileSync(path, `${process.pid}\n`)
  return { release: () => closeSync(fd) }
}
