import { type ContentReader, isErrno, NotFoundError } from '@containerd-ts/interface'
import { File } from './file.js'

/** Opens a blob for random access. @throws NotFoundError */
export async function openBlob(path: string, digest: string): Promise<ContentReader> {
  let file: File
  try {
    file = await File.open(path, 'r')
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) throw new NotFoundError(`content digest ${digest}`, { cause })
    throw cause
  }
  return {
    sizeBytes: Number(file.stat().size),
    read: (target, offset) => file.read(target, offset),
    // A blob that was deleted meanwhile may be freed now.
    close: () => file.close().catch(() => {}),
  }
}
