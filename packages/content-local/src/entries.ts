import { opendir } from 'node:fs/promises'
import { isErrno } from '@containerd-ts/interface'

/** The names in a directory, none when it is missing. */
export async function* entries(path: string): AsyncIterable<string> {
  try {
    for await (const { name } of await opendir(path, { bufferSize: 256 })) yield name
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
}
