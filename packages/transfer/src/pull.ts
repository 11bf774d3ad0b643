import {
  ContainerdError,
  type Context,
  type Descriptor,
  errorCode,
  PermissionDeniedError,
  type RegistryImage,
  type StoredImage,
  UnknownError,
} from '@containerd-ts/interface'
import { fetchBlob } from './fetch.js'
import type { LocalTransfer, Report } from './local.js'
import { nameImage } from './name-images.js'
import { trackProgress } from './progress.js'
import { openResolver, registryName } from './registry.js'
import { inScope } from './scope.js'
import { storeImage } from './store-image.js'
import { wantedTargets } from './unpack.js'

/** From a registry to the store. */
export async function pull(
  local: LocalTransfer,
  ctx: Context,
  from: RegistryImage,
  to: StoredImage,
  report: Report,
): Promise<void> {
  const { content, images, targets, turns, downloads } = local
  const resolver = openResolver(local, from)
  try {
    report?.({ event: `Resolving from ${registryName(from)}` })
    const { name, descriptor: resolved } = await resolver.resolve(from.reference, ctx.signal).catch(notResolved)
    const root = { ...resolved, annotations: {} }
    await verify(local, ctx, name, root)
    report?.({ event: `Pulling from ${registryName(from)}` })
    report?.({ event: 'fetching image content', name, descriptor: root })
    const progress = trackProgress(name, 'downloading', report)
    try {
      await inScope(ctx, (scope) =>
        storeImage(scope, root, {
          content,
          image: to,
          targets: wantedTargets(to, targets, ctx.log),
          turns,
          progress,
          fetch: (descriptor) =>
            downloads(scope.ctx.signal, () => fetchBlob(scope.ctx, descriptor, { content, resolver, reference: name, progress })),
        }),
      )
    } finally {
      progress.close()
    }
    for (const { name: saved, target } of await nameImage(ctx, images, to, root)) {
      report?.({ event: 'saved', name: saved, descriptor: target })
    }
    report?.({ event: `Completed pull from ${registryName(from)}` })
  } finally {
    resolver.close()
  }
}

/** @throws PermissionDenied when one of the verifiers says no; Unknown when one cannot say. */
async function verify({ verifiers }: LocalTransfer, ctx: Context, name: string, root: Descriptor): Promise<void> {
  for (const [id, verifier] of verifiers) {
    const image = `pull of ${name} with digest ${root.digest}`
    const { ok, reason } = await verifier.verify(ctx, name, root).catch((error: unknown) => {
      ctx.signal.throwIfAborted()
      const why = error instanceof Error ? error.message : error
      throw new UnknownError(`blocking ${image}: image verifier ${id} returned error: ${why}`, { cause: error })
    })
    if (!ok) throw new PermissionDeniedError(`image verifier ${id} blocked ${image} for reason: ${reason}`)
    ctx.log.debug('image verifier allowed pull', { verifier: id, name, reason })
  }
}

function notResolved(error: unknown): never {
  const code = errorCode(error)
  if (code === undefined || !(error instanceof Error)) throw error
  throw new ContainerdError(code, `failed to resolve image: ${error.message}`, { cause: error })
}
