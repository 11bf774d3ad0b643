import { mkdir, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Any } from '@containerd-ts/api/google/protobuf/any'
import {
  background,
  type Container,
  type ContentStore,
  type Context,
  type Descriptor,
  type Differ,
  isAlreadyExists,
  type Mount,
  UnimplementedError,
  UnknownError,
} from '@containerd-ts/interface'

const imagesType = 'application/vnd.containerd.container.criu.checkpoint.criu.tar'
const specType = 'application/vnd.containerd.container.checkpoint.config.v1+proto'
const tarType = 'application/vnd.oci.image.layer.v1.tar'
// What the CRI of containerd marks checkpoints with that are on disk, with more than the images of processes.
const pathAnnotation = 'RestoreFromPath'

/** What checkpoints in the content store need of others. */
export interface CheckpointDeps {
  content: ContentStore
  /** Makes archives of directories and unpacks them; undefined in a daemon without one. */
  differ: Differ | undefined
  /** A directory of its own, made where missing. */
  root: string
  /** Whether a container is still to be restored. */
  awaits(ctx: Context, containerId: string): Promise<boolean>
}

/** Checkpoints in the content store: archives of what criu has written. */
export interface Checkpoints {
  /**
   * Stores what `dump` leaves in the directory that it is given, and the spec of the container.
   *
   * @throws Unimplemented when the daemon has no differ, and what `dump` throws; nothing stays on disk then.
   */
  store(ctx: Context, container: Container, dump: (directory: string) => Promise<void>): Promise<Descriptor[]>
  /**
   * Unpacks a checkpoint for a container and gives back the directory, which is there until `discard` or `forget`.
   *
   * @throws Unknown for another media type, as containerd, Unimplemented when the daemon has no differ, NotFound
   */
  unpack(ctx: Context, containerId: string, checkpoint: Descriptor): Promise<string>
  /** Removes one directory that was unpacked. */
  discard(directory: string): Promise<void>
  /** Removes all that was unpacked for a container, unless it is still to be restored. */
  forget(ctx: Context, containerId: string): Promise<void>
  /** Forgets what an earlier life of the daemon has left. Others wait for it. */
  sweep(): Promise<void>
}

export function createCheckpoints({ content, differ, root, awaits }: CheckpointDeps): Checkpoints {
  const restores = join(root, 'restore')
  // A directory for each attempt: one that fails because there is such a task must not take away what that one waits for.
  const placesFor = (ctx: Context, containerId: string) => join(restores, ctx.namespace, containerId)
  const waiting = new Set<string>()
  let swept: Promise<void> = Promise.resolve()

  async function writeSpec(ctx: Context, { spec }: Container, ref: string): Promise<Descriptor> {
    const bytes = Any.encode(spec ?? Any.fromPartial({})).finish()
    const writer = await content.writer(ctx, { ref })
    try {
      await writer.write(bytes)
      const digest = writer.digest()
      await writer.commit(ctx, { expected: digest }).catch((error: unknown) => {
        if (!isAlreadyExists(error)) throw error
      })
      return { mediaType: specType, digest, sizeBytes: bytes.length, annotations: {} }
    } catch (error) {
      await writer.close()
      await content.abort(background(ctx.namespace, { log: ctx.log }), ref).catch(() => {})
      throw error
    } finally {
      await writer.close()
    }
  }

  async function forget(ctx: Context, containerId: string): Promise<void> {
    const places = placesFor(ctx, containerId)
    if (!waiting.has(places) || (await awaits(ctx, containerId))) return
    await rm(places, { recursive: true, force: true })
    waiting.delete(places)
  }

  async function discard(directory: string): Promise<void> {
    await rm(directory, { recursive: true, force: true })
    // With the last one goes what held them.
    const places = dirname(directory)
    await rmdir(places).then(
      () => waiting.delete(places),
      () => {},
    )
  }

  async function sweepAll(): Promise<void> {
    const dumps = (await namesIn(root)).filter((name) => name.startsWith('dump-'))
    await Promise.all(dumps.map((name) => rm(join(root, name), { recursive: true, force: true })))
    for (const namespace of await namesIn(restores)) {
      for (const id of await namesIn(join(restores, namespace))) {
        const ctx = background(namespace)
        waiting.add(placesFor(ctx, id))
        await forget(ctx, id)
      }
    }
  }

  return {
    async store(ctx, container, dump) {
      const archiver = required(differ)
      await swept
      await mkdir(root, { recursive: true, mode: 0o700 })
      const directory = await mkdtemp(join(root, 'dump-'))
      try {
        await dump(directory)
        const images = await archiver.compare(ctx, [], [bindOf(directory, 'ro')], { mediaType: tarType })
        return [{ ...images, mediaType: imagesType }, await writeSpec(ctx, container, `${directory}/spec`)]
      } finally {
        await rm(directory, { recursive: true, force: true })
      }
    },
    async unpack(ctx, containerId, checkpoint) {
      if (checkpoint.annotations[pathAnnotation] !== undefined)
        throw new UnimplementedError(
          'restoring from a path that an annotation names; give criu_image_path in the task options instead',
        )
      if (checkpoint.mediaType !== imagesType)
        throw new UnknownError(`unsupported checkpoint type ${JSON.stringify(checkpoint.mediaType)}`)
      const archiver = required(differ)
      const { sizeBytes } = await content.info(ctx, checkpoint.digest)
      await swept
      const places = placesFor(ctx, containerId)
      await mkdir(places, { recursive: true, mode: 0o700 })
      waiting.add(places)
      const directory = await mkdtemp(join(places, 'images-'))
      try {
        await archiver.apply(ctx, { ...checkpoint, mediaType: tarType, sizeBytes }, [bindOf(directory, 'rw')])
        return directory
      } catch (error) {
        await discard(directory)
        throw error
      }
    },
    discard,
    forget,
    sweep() {
      swept = sweepAll()
      return swept
    },
  }
}

function required(differ: Differ | undefined): Differ {
  if (differ === undefined) throw new UnimplementedError('checkpoints in the content store by a daemon without a differ')
  return differ
}

function bindOf(source: string, access: 'ro' | 'rw'): Mount {
  return { type: 'bind', source, target: '', options: ['rbind', access] }
}

function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => [])
}
