import { closeSync, openSync, readSync } from 'node:fs'
import { createTarReader, TarType } from '@containerd-ts/archive'
import { childLabels, isDocumentType } from '@containerd-ts/images'
import { status } from '@grpc/grpc-js'
import { type Containerd, hasStatus, leased } from './connection.js'
import { type Descriptor, labelBlob, readBlob, writeBlob } from './content.js'

const pieceBytes = 1024 * 1024
// An index lists manifests; whatever is larger is something else.
const maxIndexBytes = 4 * pieceBytes

/**
 * Imports a tar archive that holds an OCI image layout: stores its blobs, creates or updates its images, and gives back their names.
 *
 * Images are named by the annotation `io.containerd.image.name`, or else `org.opencontainers.image.ref.name`.
 *
 * @throws Error when the archive holds no layout; nothing but blobs that garbage collection removes is left then.
 */
export async function importImage(containerd: Containerd, path: string): Promise<string[]> {
  return leased(containerd, async (held) => {
    const index = await storeBlobs(held, path)
    if (index === undefined) throw new Error(`${path}: no index.json: not an OCI image layout`)
    const { manifests } = JSON.parse(index.toString()) as { manifests: Descriptor[] }
    const names: string[] = []
    for (const descriptor of manifests) {
      await labelChildren(held, descriptor)
      const name = nameOf(descriptor)
      if (name === undefined) continue
      await putImage(held, name, descriptor)
      names.push(name)
    }
    return names
  })
}

/** Stores every blob of the archive; gives back its index.json. */
async function storeBlobs(containerd: Containerd, path: string): Promise<Buffer | undefined> {
  const fd = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(pieceBytes)
    const tar = createTarReader({
      read: (max) => buffer.subarray(0, readSync(fd, buffer, 0, Math.min(max, buffer.length), null)),
    })
    let index: Buffer | undefined
    for (let entry = tar.next(); entry !== undefined; entry = tar.next()) {
      if (entry.type !== TarType.Regular) continue
      const name = entry.name.toString().replace(/^\.\//, '')
      const blob = /^blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(name)
      if (blob !== null) {
        const digest = `${blob[1]}:${blob[2]}`
        await writeBlob(containerd, pieces(tar, entry.size), { ref: `import-${digest}`, size: entry.size, digest })
      } else if (name === 'index.json' && entry.size <= maxIndexBytes) {
        index = Buffer.concat([...pieces(tar, entry.size)])
      }
    }
    return index
  } finally {
    closeSync(fd)
  }
}

/** The data of the present entry, in copies: the reader uses its memory again. */
function* pieces(tar: { read(max: number): Buffer }, size: number): Iterable<Buffer> {
  for (let left = size; left > 0; ) {
    const piece = Buffer.from(tar.read(left))
    left -= piece.length
    yield piece
  }
}

function nameOf({ annotations = {} }: Descriptor): string | undefined {
  return annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name']
}

/** Makes manifests refer to their children, so that garbage collection keeps them. Platforms that the archive lacks are left out. */
async function labelChildren(containerd: Containerd, descriptor: Descriptor): Promise<void> {
  if (!isDocumentType(descriptor.mediaType)) return
  let blob: Buffer
  try {
    blob = await readBlob(containerd, descriptor.digest)
  } catch (error) {
    if (hasStatus(error, status.NOT_FOUND)) return
    throw error
  }
  const {
    config,
    layers = [],
    manifests = [],
  } = JSON.parse(blob.toString()) as {
    config?: Descriptor
    layers?: Descriptor[]
    manifests?: Descriptor[]
  }
  await labelBlob(
    containerd,
    descriptor.digest,
    childLabels([...(config === undefined ? [] : [config]), ...layers, ...manifests]),
  )
  for (const manifest of manifests) await labelChildren(containerd, manifest)
}

async function putImage(containerd: Containerd, name: string, { mediaType, digest, size }: Descriptor): Promise<void> {
  const image = { name, target: { mediaType, digest, size } }
  try {
    await containerd.images.create({ image })
  } catch (error) {
    if (!hasStatus(error, status.ALREADY_EXISTS)) throw error
    await containerd.images.update({ image, updateMask: ['target'] })
  }
}
