/** The blobs in a store's directory for whoever looks at it while no daemon has it: nothing here writes, but for `setBlobAside`. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { digestProblem, parseDigest } from '@containerd-ts/interface'
import { algorithms } from './blobs.js'
import { entries } from './entries.js'

/** Digest and size of every blob below a store's directory, in no order. */
export async function* blobsOnDisk(root: string): AsyncIterable<{ digest: string; sizeBytes: number }> {
  for (const algorithm of algorithms) {
    for await (const name of entries(join(root, 'blobs', algorithm))) {
      const digest = `${algorithm}:${name}`
      if (digestProblem(digest) === undefined) yield { digest, sizeBytes: (await stat(pathOf(root, digest))).size }
    }
  }
}

/** All bytes of a blob. */
export function readBlobOnDisk(root: string, digest: string): Promise<Buffer> {
  return readFile(pathOf(root, digest))
}

/** True when the bytes of a blob are not what its digest says. */
export async function isAltered(root: string, digest: string): Promise<boolean> {
  const { algorithm, hex } = parseDigest(digest)
  const hash = createHash(algorithm)
  await pipeline(createReadStream(pathOf(root, digest), { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex') !== hex
}

/** Takes a blob out of the store, so that it can be fetched again, and keeps its bytes in `damaged`; gives back where. */
export async function setBlobAside(root: string, digest: string): Promise<string> {
  const { algorithm, hex } = parseDigest(digest)
  const directory = join(root, 'damaged', algorithm)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, hex)
  await rename(pathOf(root, digest), path)
  return path
}

function pathOf(root: string, digest: string): string {
  const { algorithm, hex } = parseDigest(digest)
  return join(root, 'blobs', algorithm, hex)
}
