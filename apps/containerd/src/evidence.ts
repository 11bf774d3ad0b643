import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blobsOnDisk, isAltered, readBlobOnDisk } from '@containerd-ts/content-local/on-disk'
import { isErrno, type SnapshotInfo } from '@containerd-ts/interface'
import type { Evidence } from '@containerd-ts/metadata-level/maintenance'
import { PluginType } from '@containerd-ts/plugin'
import type { DaemonConfig } from '@containerd-ts/server'
import { openSnapshotStorage, snapshotInfo } from '@containerd-ts/snapshot-storage'

export interface Gathered {
  readonly evidence: Evidence
  /** Snapshotters whose own records cannot be read, and why. */
  readonly unreadable: ReadonlyMap<string, string>
}

/** The directory of the content store. */
export function contentRoot(config: DaemonConfig): string {
  return rootOf(config, PluginType.Content, 'content')
}

/** The metadata database. */
export function databasePath(config: DaemonConfig): string {
  return join(config.root, `${PluginType.Metadata}.level`, 'meta.level')
}

/** Looks at what the stores below a root have, without changing it. With `verify` every byte of the content is read. */
export async function gatherEvidence(
  config: DaemonConfig,
  options: { verify: boolean; progress: (text: string) => void },
): Promise<Gathered> {
  const root = contentRoot(config)
  const blobs = new Map<string, number>()
  for await (const { digest, sizeBytes } of blobsOnDisk(root)) blobs.set(digest, sizeBytes)
  const altered = new Set<string>()
  if (options.verify) {
    let done = 0
    for (const digest of blobs.keys()) {
      if (await isAltered(root, digest)) altered.add(digest)
      options.progress(`verified ${++done} of ${blobs.size} blobs`)
    }
  }
  const snapshots = new Map<string, readonly SnapshotInfo[]>()
  const unreadable = new Map<string, string>()
  for (const id of await snapshotters(config)) {
    try {
      snapshots.set(id, await snapshotsOf(rootOf(config, PluginType.Snapshotter, id)))
    } catch (error) {
      unreadable.set(id, error instanceof Error ? error.message : String(error))
    }
  }
  return { evidence: { blobs, altered, snapshots, readBlob: (digest) => readBlobOnDisk(root, digest) }, unreadable }
}

function rootOf(config: DaemonConfig, type: string, id: string): string {
  const configured = config.plugins[`${type}.${id}`]?.['root_path']
  return typeof configured === 'string' && configured !== '' ? configured : join(config.root, `${type}.${id}`)
}

/** The snapshotters that have a directory. */
async function snapshotters(config: DaemonConfig): Promise<string[]> {
  const prefix = `${PluginType.Snapshotter}.`
  return (await readdir(config.root)).filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
}

/** What a snapshotter has recorded, read from a copy, since LevelDB writes where one only reads. Nothing, when it keeps no records there. */
async function snapshotsOf(root: string): Promise<SnapshotInfo[]> {
  const copy = await mkdtemp(join(tmpdir(), 'containerd-snapshots-'))
  try {
    await cp(join(root, 'metadata.db'), copy, { recursive: true, filter: (path) => !path.endsWith('/LOCK') })
    const storage = await openSnapshotStorage(copy)
    try {
      return storage.list([]).map(snapshotInfo)
    } finally {
      await storage.close()
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}
