import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { arch } from 'node:process'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { mustExec } from './process.js'

const busybox = '/bin/busybox'

export interface BuiltImage {
  /** An OCI image layout directory. */
  layout: string
  /** The same as a tar archive, as `ctr images import` takes it. */
  archive: string
  /** Name in the archive's annotations. */
  name: string
}

interface Descriptor {
  mediaType: string
  digest: string
  size: number
  annotations?: Record<string, string>
  platform?: { architecture: string; os: string }
}

/**
 * Builds a small image of two layers out of Debian's busybox-static: the first holds busybox and its applets, the second replaces,
 * deletes and adds files, so that whiteouts matter.
 */
export async function buildBusyboxImage(dir: string, name = 'docker.io/library/busybox-ts:latest'): Promise<BuiltImage> {
  const tars = [await layer(dir, busyboxTree), await layer(dir, changes)]
  try {
    return await buildImage(dir, name, tars)
  } finally {
    for (const tar of tars) await rm(tar)
  }
}

/** Builds an image whose layers are these uncompressed archives, the base first. */
export async function buildImage(dir: string, name: string, tars: readonly string[]): Promise<BuiltImage> {
  const layout = join(dir, 'layout')
  await mkdir(join(layout, 'blobs/sha256'), { recursive: true })
  const architecture = arch === 'x64' ? 'amd64' : arch
  const diffIds: string[] = []
  const layers: Descriptor[] = []
  for (const tar of tars) {
    const { diffId, ...descriptor } = await layerBlob(layout, tar)
    diffIds.push(diffId)
    layers.push(descriptor)
  }
  const config = await blob(
    layout,
    'application/vnd.oci.image.config.v1+json',
    json({
      architecture,
      os: 'linux',
      config: { Env: ['PATH=/bin'], Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: tars.map((_, index) => ({ created_by: `layer ${index}` })),
    }),
  )
  const manifest = await blob(
    layout,
    'application/vnd.oci.image.manifest.v1+json',
    json({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers }),
  )
  const tag = name.slice(name.lastIndexOf(':') + 1)
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tag }
  await writeFile(join(layout, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }))
  await writeFile(
    join(layout, 'index.json'),
    json({ schemaVersion: 2, manifests: [{ ...manifest, annotations, platform: { architecture, os: 'linux' } }] }),
  )
  const archive = join(dir, 'image.tar')
  await mustExec('tar', ['-C', layout, '-cf', archive, 'oci-layout', 'index.json', 'blobs'])
  return { layout, archive, name }
}

async function layerBlob(layout: string, tar: string): Promise<Descriptor & { diffId: string }> {
  const blobs = join(layout, 'blobs/sha256')
  const temporary = join(blobs, 'layer')
  const [raw, packed] = [createHash('sha256'), createHash('sha256')]
  await pipeline(
    createReadStream(tar),
    observer((bytes) => raw.update(bytes)),
    createGzip({ level: 6 }),
    observer((bytes) => packed.update(bytes)),
    createWriteStream(temporary),
  )
  const { size } = await stat(temporary)
  const hex = packed.digest('hex')
  await rename(temporary, join(blobs, hex))
  return {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: `sha256:${hex}`,
    size,
    diffId: `sha256:${raw.digest('hex')}`,
  }
}

function observer(observe: (bytes: Uint8Array) => void): Transform {
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      observe(chunk)
      done(null, chunk)
    },
  })
}

async function busyboxTree(root: string): Promise<void> {
  for (const path of ['bin', 'etc', 'dev', 'proc', 'sys', 'root', 'var/data']) await mkdir(join(root, path), { recursive: true })
  await mkdir(join(root, 'tmp'))
  await chmod(join(root, 'tmp'), 0o1777)
  await copyFile(busybox, join(root, 'bin/busybox'))
  await chmod(join(root, 'bin/busybox'), 0o755)
  const applets = (await mustExec(busybox, ['--list'])).trim().split('\n')
  for (const applet of applets) if (applet !== 'busybox') await symlink('busybox', join(root, 'bin', applet))
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n')
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n')
  await writeFile(join(root, 'etc/replaced'), 'first\n')
  await writeFile(join(root, 'etc/deleted'), 'gone in the second layer\n')
  await writeFile(join(root, 'var/data/hidden'), 'under an opaque directory\n')
}

async function changes(root: string): Promise<void> {
  await mkdir(join(root, 'etc'), { recursive: true })
  await mkdir(join(root, 'var/data'), { recursive: true })
  await writeFile(join(root, 'etc/replaced'), 'second\n')
  await writeFile(join(root, 'etc/.wh.deleted'), '')
  await writeFile(join(root, 'var/data/.wh..wh..opq'), '')
  await writeFile(join(root, 'var/data/visible'), 'beside the opaque marker\n')
}

/** The path of an archive. */
async function layer(dir: string, fill: (root: string) => Promise<void>): Promise<string> {
  const root = await mkdtemp(join(dir, 'layer-'))
  const tar = `${root}.tar`
  try {
    await fill(root)
    await mustExec('tar', [
      '-C',
      root,
      '--sort=name',
      '--mtime=@1700000000',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '-cf',
      tar,
      '.',
    ])
    return tar
  } finally {
    await rm(root, { recursive: true })
  }
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

async function blob(layout: string, mediaType: string, bytes: Buffer): Promise<Descriptor> {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  await writeFile(join(layout, 'blobs/sha256', digest.slice('sha256:'.length)), bytes)
  return { mediaType, digest, size: bytes.length }
}
