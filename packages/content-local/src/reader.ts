import { type FileHandle, open } from 'node:fs/promises'
import { type ContentReader, isErrno, NotFoundError } from '@containerd-ts/interface'

/** Opens a blob for random access. @throws NotFoundError */
export async function openBlob(path: string, digest: string): Promise<ContentReader> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) throw new NotFoundError(`content digest ${digest}`, { cause })
    throw cause
  }
  let closed: Promise<void> | undefined
  try {
    const { size } = await file.stat()
    return {
      sizeBytes: size,
      async read(target, offset) {
        const { bytesRead } = await file.read(target, 0, target.byteLength, offset)
        return bytesRead
      },
      close() {
        closed ??= file.close().catch(() => {})
        return closed
      },
    }
  } catch (error) {
    await file.close()
    throw error
  }
}
