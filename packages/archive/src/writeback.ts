import { open } from 'node:fs/promises'
import { syncFilesystem } from '@containerd-ts/linux'
import type { ApplyTarget } from './jobs.js'

/** Has a filesystem written to disk while it is filled, so that little is left to do in the end. */
export interface Writeback {
  /** Told of what was written. */
  written(sizeBytes: number): void
  /** Settles when nothing is under way any more. Never rejects: the final sync tells what is wrong. */
  end(): Promise<void>
}

// Rarely enough that a filesystem's journal is not committed all the time.
const stepBytes = 64 << 20

/** For the filesystem that a target lies on, where it can be told from outside. */
export function startWriteback(target: ApplyTarget): Writeback {
  const path = directoryOf(target)
  let bytes = 0
  let running: Promise<void> | undefined
  return {
    written(sizeBytes) {
      bytes += sizeBytes
      if (path === undefined || bytes < stepBytes || running !== undefined) return
      bytes = 0
      running = sync(path)
        .catch(() => {})
        .finally(() => {
          running = undefined
        })
    },
    end: async () => running,
  }
}

async function sync(path: string): Promise<void> {
  const directory = await open(path)
  try {
    await syncFilesystem(directory.fd)
  } finally {
    await directory.close()
  }
}

function directoryOf(target: ApplyTarget): string | undefined {
  if (target.kind === 'overlay') return target.upper
  if (target.kind === 'directory') return target.path
  const [only, ...others] = target.mounts
  return only?.type === 'bind' && others.length === 0 ? only.source : undefined
}
