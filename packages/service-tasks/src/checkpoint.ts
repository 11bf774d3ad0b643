import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Any, typeName } from '@containerd-ts/api'
import { CheckpointOptions } from '@containerd-ts/api/containerd/runc/v1/options'
import type { Descriptor as WireDescriptor } from '@containerd-ts/api/containerd/types/descriptor'
import { Any as AnyMessage } from '@containerd-ts/api/google/protobuf/any'
import {
  type Container,
  type ContentStore,
  type Context,
  type Descriptor,
  type Differ,
  InvalidArgumentError,
  isAlreadyExists,
  type Mount,
  type TaskRuntime,
  UnimplementedError,
  UnknownError,
} from '@containerd-ts/interface'

const checkpointType = 'application/vnd.containerd.container.criu.checkpoint.criu.tar'
const specType = 'application/vnd.containerd.container.checkpoint.config.v1+proto'
const tarType = 'application/vnd.oci.image.layer.v1.tar'
const restoreFromPath = 'RestoreFromPath'

export interface CheckpointDeps {
  runtime: TaskRuntime
  content: ContentStore
  /** Turns a directory into a tar in the content store and back; without one, checkpoints stay on disk. */
  differ: Differ | undefined
}

/** A directory that a checkpoint was unpacked to. */
export interface UnpackedCheckpoint {
  readonly path: string
  release(): void
}

/** Writes a checkpoint: to the path of the options, or into the content store. @throws Unimplemented when that needs a differ. */
export async function writeCheckpoint(
  ctx: Context,
  { runtime, content, differ }: CheckpointDeps,
  container: Container,
  options: Any | undefined,
): Promise<WireDescriptor[]> {
  const imagePath = imagePathOf(container, options)
  if (imagePath !== '') {
    await runtime.checkpoint(ctx, container.id, imagePath, options)
    return []
  }
  if (differ === undefined) throw new UnimplementedError('checkpoints without an image path: no differ is loaded')
  const dir = temporaryDirectory()
  try {
    await runtime.checkpoint(ctx, container.id, dir, options)
    const image = await differ.compare(ctx, [], [bindMount(dir)], { mediaType: tarType, ref: dir })
    const spec = await writeBlob(
      ctx,
      content,
      `${dir}/spec`,
      AnyMessage.encode(container.spec ?? { typeUrl: '', value: new Uint8Array(0) }).finish(),
    )
    return [wire({ ...image, mediaType: checkpointType }), wire({ ...spec, mediaType: specType })]
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function imagePathOf(container: Container, options: Any | undefined): string {
  if (options === undefined || options.typeUrl === '') return ''
  if (typeName(options.typeUrl) !== 'containerd.runc.v1.CheckpointOptions') {
    throw new UnknownError(`invalid task checkpoint option for ${container.runtime.name}`)
  }
  try {
    return CheckpointOptions.decode(options.value).imagePath
  } catch (cause) {
    throw new InvalidArgumentError('checkpoint options cannot be decoded', { cause })
  }
}

/** Brings a checkpoint from the content store to disk. @throws Unknown for another media type. */
export async function unpackCheckpoint(
  ctx: Context,
  differ: Differ | undefined,
  descriptor: WireDescriptor,
): Promise<UnpackedCheckpoint> {
  if (descriptor.annotations[restoreFromPath] !== undefined) {
    throw new UnimplementedError(`restoring from a path with the ${restoreFromPath} annotation; use criu_image_path`)
  }
  if (descriptor.mediaType !== checkpointType)
    throw new UnknownError(`unsupported checkpoint type ${JSON.stringify(descriptor.mediaType)}`)
  if (differ === undefined) throw new UnimplementedError('restoring from the content store: no differ is loaded')
  const path = temporaryDirectory()
  const release = () => rmSync(path, { recursive: true, force: true })
  try {
    const { digest, size, annotations } = descriptor
    await differ.apply(ctx, { mediaType: tarType, digest, sizeBytes: size, annotations }, [bindMount(path)])
    return { path, release }
  } catch (error) {
    release()
    throw error
  }
}

function temporaryDirectory(): string {
  return mkdtempSync(join(process.env['XDG_RUNTIME_DIR'] ?? tmpdir(), 'ctrd-checkpoint'))
}

function bindMount(source: string): Mount {
  return { type: 'bind', source, target: '', options: ['rbind', 'rw'] }
}

async function writeBlob(ctx: Context, content: ContentStore, ref: string, bytes: Uint8Array): Promise<Descriptor> {
  const writer = await content.writer(ctx, { ref: `${ref}-${randomBytes(4).toString('hex')}`, total: bytes.length })
  try {
    await writer.write(bytes)
    const digest = writer.digest()
    try {
      await writer.commit(ctx, { sizeBytes: bytes.length })
    } catch (error) {
      if (!isAlreadyExists(error)) throw error
    }
    return { mediaType: '', digest, sizeBytes: bytes.length, annotations: {} }
  } finally {
    await writer.close()
  }
}

function wire({ mediaType, digest, sizeBytes, annotations }: Descriptor): WireDescriptor {
  return { mediaType, digest, size: sizeBytes, annotations: { ...annotations } }
}
