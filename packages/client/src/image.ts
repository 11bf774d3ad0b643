import { chainIds, isIndexType, isManifestType } from '@containerd-ts/images'
import { hostPlatform } from '@containerd-ts/interface'
import { status } from '@grpc/grpc-js'
import { type Containerd, hasStatus, leased } from './connection.js'
import { type Descriptor, labelBlob, readBlob } from './content.js'

/** The parts of an image manifest that are needed to unpack it. */
export interface Manifest {
  config: Descriptor
  layers: Descriptor[]
}

/** The parts of an image's configuration that describe its processes and its layers. */
export interface ImageConfig {
  architecture: string
  os: string
  config?: { Env?: string[]; Entrypoint?: string[]; Cmd?: string[]; WorkingDir?: string; User?: string }
  rootfs: { diff_ids: string[] }
}

async function readJson<T>(containerd: Containerd, digest: string): Promise<T> {
  // Blobs are verified by their digest; whoever made the image answers for its shape.
  return JSON.parse((await readBlob(containerd, digest)).toString()) as T
}

/** The architecture of this machine, in the OCI's words. */
export const { architecture } = hostPlatform()

/** The manifest of an image for this machine: of an index, the entry for this platform. */
export async function resolveManifest(containerd: Containerd, target: Descriptor): Promise<Manifest> {
  if (isManifestType(target.mediaType)) return readJson<Manifest>(containerd, target.digest)
  if (!isIndexType(target.mediaType))
    throw new Error(`${target.digest}: "${target.mediaType}" is neither an image manifest nor an index`)
  const { manifests } = await readJson<{ manifests: Descriptor[] }>(containerd, target.digest)
  const match = manifests.find(
    (m) =>
      isManifestType(m.mediaType) &&
      (m.platform === undefined || (m.platform.os === 'linux' && m.platform.architecture === architecture)),
  )
  if (match === undefined) throw new Error(`${target.digest}: no manifest for linux/${architecture}`)
  return resolveManifest(containerd, match)
}

/** The image's configuration. */
export function readConfig(containerd: Containerd, manifest: Manifest): Promise<ImageConfig> {
  return readJson<ImageConfig>(containerd, manifest.config.digest)
}

/**
 * Unpacks an image's layers into snapshots, leaving out those that are there already.
 *
 * Gives back the name of the top snapshot and the image's configuration.
 */
export async function unpack(containerd: Containerd, target: Descriptor): Promise<{ chainId: string; config: ImageConfig }> {
  return leased(containerd, async (held) => {
    const manifest = await resolveManifest(held, target)
    const config = await readConfig(held, manifest)
    const diffIds = config.rootfs.diff_ids
    const chain = chainIds(diffIds)
    for (const [index, layer] of manifest.layers.entries()) {
      const name = chain[index]
      const diffId = diffIds[index]
      if (name === undefined || diffId === undefined)
        throw new Error(`${target.digest}: ${manifest.layers.length} layers but ${diffIds.length} diff ids`)
      await unpackLayer(held, { layer, name, diffId, parent: chain[index - 1] ?? '' })
    }
    const chainId = chain.at(-1) ?? ''
    await labelBlob(held, manifest.config.digest, { [`containerd.io/gc.ref.snapshot.${held.snapshotter}`]: chainId })
    return { chainId, config }
  })
}

async function unpackLayer(
  containerd: Containerd,
  step: { layer: Descriptor; name: string; diffId: string; parent: string },
): Promise<void> {
  const { layer, name, diffId, parent } = step
  const { snapshotter, snapshots } = containerd
  if (await snapshotExists(containerd, name)) return
  const key = `extract-${process.hrtime.bigint()} ${name}`
  const labels = { 'containerd.io/snapshot.ref': name }
  try {
    const { mounts } = await snapshots.prepare({ snapshotter, key, parent, labels })
    const { applied } = await containerd.diff.apply({ diff: layer, mounts })
    if (applied?.digest !== diffId) throw new Error(`layer ${layer.digest}: unpacked digest ${applied?.digest} is not ${diffId}`)
    await snapshots.commit({ snapshotter, name, key, labels })
    await labelBlob(containerd, layer.digest, { 'containerd.io/uncompressed': diffId })
  } catch (error) {
    // Somebody else may have unpacked the same layer meanwhile.
    if (hasStatus(error, status.ALREADY_EXISTS) && (await snapshotExists(containerd, name))) return
    await snapshots.remove({ snapshotter, key }).catch(() => {})
    throw error
  }
}

async function snapshotExists({ snapshots, snapshotter }: Containerd, key: string): Promise<boolean> {
  try {
    await snapshots.stat({ snapshotter, key })
    return true
  } catch (error) {
    if (hasStatus(error, status.NOT_FOUND)) return false
    throw error
  }
}
