import { DataLossError, isErrno, UnavailableError } from '@containerd-ts/interface'
import { ClassicLevel } from 'classic-level'

/** An open LevelDB of binary keys and values. */
export type Level = ClassicLevel<Buffer, Uint8Array>

/** What a database is, for messages. */
export interface DatabaseKind {
  /** For instance `metadata database`. */
  readonly name: string
  /** What can be done with a damaged one: a sentence without a full stop. */
  readonly advice: string
}

/** An error about a database that cannot be read, with what to do. The files are left as they are. */
export function damaged(path: string, { name, advice }: DatabaseKind, reason: string, cause?: unknown): Error {
  return new DataLossError(`${name} ${path} is damaged: ${reason}. It is left as it is: ${advice}`, { cause })
}

/** @throws UnavailableError when another process has it open or the system refuses, DataLossError when it cannot be read. */
export async function openLevel(path: string, kind: DatabaseKind): Promise<Level> {
  // Everything is read once and then kept by the caller, so LevelDB itself needs to cache little.
  const level: Level = new ClassicLevel(path, { keyEncoding: 'buffer', valueEncoding: 'view', cacheSize: 1 << 20 })
  try {
    await level.open()
    return level
  } catch (cause) {
    const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
    const text = reason instanceof Error ? reason.message : String(reason)
    if (isErrno(reason, 'LEVEL_LOCKED'))
      throw new UnavailableError(`${kind.name} ${path} is in use by another process`, { cause })
    // "IO error" is for whatever the system refuses, such as a read-only or a full disk.
    if (text.startsWith('IO error') && !text.includes('No such file'))
      throw new UnavailableError(`cannot open ${kind.name} ${path}: ${text}`, { cause })
    throw damaged(path, kind, text, cause)
  }
}

/** The records of a database as they are stored, a thousand at a time. */
export async function* storedRecords(level: Level): AsyncIterable<[key: Buffer, value: Uint8Array][]> {
  const iterator = level.iterator({ highWaterMarkBytes: 1 << 20 })
  try {
    for (;;) {
      const batch = await iterator.nextv(1000)
      if (batch.length === 0) return
      yield batch
    }
  } finally {
    await iterator.close()
  }
}
