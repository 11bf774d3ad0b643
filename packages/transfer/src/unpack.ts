import { randomBytes } from 'node:crypto'
import {
  addLabels,
  chainIds,
  type ImageDescriptor,
  isConfigType,
  type PlatformMatcher,
  readImageConfig,
} from '@containerd-ts/images'
import {
  background,
  type ContentStore,
  type Context,
  type Differ,
  FailedPreconditionError,
  InvalidArgumentError,
  isAlreadyExists,
  isNotFound,
  type Labels,
  type Snapshotter,
  type StoredImage,
  UnavailableError,
} from '@containerd-ts/interface'
import type { ProgressTracker } from './progress.js'
import type { KeyedTurns } from './turns.js'

/** Where images of some platforms can be unpacked. */
export interface UnpackTarget {
  platforms: PlatformMatcher
  /** Name of the snapshotter. */
  name: string
  snapshotter: Snapshotter
  differ: Pick<Differ, 'apply'>
}

/** Those of `targets` that a client asks for, each once. */
export function wantedTargets({ unpacks }: StoredImage, targets: readonly UnpackTarget[], log: Context['log']): UnpackTarget[] {
  const wanted = new Set<UnpackTarget>()
  for (const { platform, snapshotter } of unpacks) {
    const fitting = targets.filter((target) => target.platforms.matches(platform))
    const target =
      snapshotter === ''
        ? (fitting.find(({ name }) => name === 'overlayfs') ?? fitting[0])
        : fitting.find(({ name }) => name === snapshotter)
    if (target === undefined) log.warn('cannot unpack for this platform, skipping', { platform: { ...platform }, snapshotter })
    else wanted.add(target)
  }
  return [...wanted]
}

/** What unpacking an image needs. */
export interface UnpackOptions {
  content: ContentStore
  targets: readonly UnpackTarget[]
  turns: KeyedTurns
  progress: ProgressTracker
  /** Settled when the blob of a layer is in the store; called for layers that have no snapshot yet. */
  fetched(layer: ImageDescriptor): Promise<void>
}

/**
 * Unpacks the layers of one image into snapshots, leaving out those that are there already. Where no target is for its platform, its
 * blobs are fetched and that is all.
 *
 * @throws FailedPrecondition when a layer is not what the configuration says; InvalidArgument.
 */
export async function unpackImage(
  ctx: Context,
  config: ImageDescriptor,
  layers: readonly ImageDescriptor[],
  options: UnpackOptions,
): Promise<void> {
  const { content, targets } = options
  const { platform, rootfsType, diffIds } = isConfigType(config.mediaType)
    ? await readImageConfig(ctx, content, config.digest)
    : { rootfsType: 'none', diffIds: [], platform: undefined }
  const target =
    platform !== undefined && (rootfsType === '' || rootfsType === 'layers')
      ? targets.find(({ platforms }) => platforms.matches(platform))
      : undefined
  if (target === undefined) {
    await Promise.all(layers.map(options.fetched))
    return
  }
  if (layers.length !== diffIds.length) {
    throw new InvalidArgumentError(
      `image ${config.digest}: number of layers and diffIDs don't match: ${layers.length} != ${diffIds.length}`,
    )
  }
  const chain = chainIds(diffIds)
  let missing: Promise<void>[] | undefined
  try {
    for (const [index, layer] of layers.entries()) {
      const step = { layer, index, chain, diffIds, target }
      const name = chain[index] ?? ''
      await options.turns(`${ctx.namespace} ${target.name} ${name}`, ctx.signal, async () => {
        const prepared = await prepare(ctx, step)
        if (prepared === undefined) return
        // From the first one that is missing on, the others are fetched while this one is unpacked.
        missing ??= layers.slice(index).map((other) => {
          const fetching = options.fetched(other)
          // Whoever unpacks that layer hears of it.
          fetching.catch(() => {})
          return fetching
        })
        await unpackLayer(ctx, step, prepared, missing[missing.length - (layers.length - index)], options)
      })
    }
  } finally {
    await Promise.allSettled(missing ?? [])
  }
  await addLabels(ctx, content, config.digest, { [`containerd.io/gc.ref.snapshot.${target.name}`]: chain.at(-1) ?? '' })
}

interface Step {
  layer: ImageDescriptor
  index: number
  chain: readonly string[]
  diffIds: readonly string[]
  target: UnpackTarget
}

type Prepared = { key: string; mounts: Awaited<ReturnType<Snapshotter['prepare']>>; labels: Labels }

/** A snapshot to unpack into, or undefined when that layer is there. */
async function prepare(ctx: Context, { layer, index, chain, diffIds, target }: Step): Promise<Prepared | undefined> {
  const { snapshotter } = target
  const name = chain[index] ?? ''
  const parent = chain[index - 1] ?? ''
  const labels: Labels = {
    ...Object.fromEntries(Object.entries(layer.annotations).filter(([key]) => key.startsWith('containerd.io/snapshot/'))),
    'containerd.io/snapshot.ref': name,
    'containerd.io/snapshot/diff-id': diffIds[index] ?? '',
    ...(parent !== '' && { 'containerd.io/snapshot/parent-chain-id': parent }),
  }
  // Twice more, as the snapshot that is in the way may go away meanwhile.
  for (let tries = 0; tries < 3; tries++) {
    if (await exists(ctx, snapshotter, name)) return undefined
    const key = `extract-${process.hrtime.bigint()}-${randomBytes(3).toString('base64url')} ${name}`
    try {
      return { key, mounts: await snapshotter.prepare(ctx, key, parent, { labels }), labels }
    } catch (error) {
      if (!isAlreadyExists(error)) throw error
    }
  }
  throw new UnavailableError(`snapshot ${name}: unable to prepare extraction snapshot`)
}

async function exists(ctx: Context, snapshotter: Snapshotter, name: string): Promise<boolean> {
  try {
    await snapshotter.stat(ctx, name)
    return true
  } catch (error) {
    if (isNotFound(error)) return false
    throw error
  }
}

async function unpackLayer(
  ctx: Context,
  { layer, index, chain, diffIds, target }: Step,
  { key, mounts, labels }: Prepared,
  fetched: Promise<void> | undefined,
  { content, progress }: UnpackOptions,
): Promise<void> {
  const { snapshotter, differ } = target
  const diffId = diffIds[index] ?? ''
  try {
    await fetched
    progress.extract(layer, 'extracting')
    const applied = await differ.apply(ctx, layer, mounts)
    if (applied.digest !== diffId) {
      throw new FailedPreconditionError(
        `layer ${layer.digest}: wrong diff id ${applied.digest} calculated on extraction, expected ${diffId}`,
      )
    }
    await snapshotter.commit(ctx, chain[index] ?? '', key, { labels })
  } catch (error) {
    await snapshotter.remove({ ...ctx, signal: background().signal }, key).catch((failed) => {
      if (!isNotFound(failed)) ctx.log.warn('cannot remove a snapshot that was not finished', { key, error: failed })
    })
    // Somebody else has unpacked the same layer.
    if (!isAlreadyExists(error)) throw error
  }
  await addLabels(ctx, content, layer.digest, { 'containerd.io/uncompressed': diffId })
  progress.extract(layer, 'extracted')
}
