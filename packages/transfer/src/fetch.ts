import { addLabels, type ImageDescriptor, storeBlob } from '@containerd-ts/images'
import {
  type ContentStore,
  type Context,
  InvalidArgumentError,
  isInvalidArgument,
  type Labels,
  validateLabels,
} from '@containerd-ts/interface'
import { parseReference, type Resolver } from '@containerd-ts/remotes'
import { type ProgressTracker, refOf } from './progress.js'

/** Where blobs come from and go to. */
export interface FetchOptions {
  content: ContentStore
  resolver: Resolver
  reference: string
  progress: ProgressTracker
}

/** Has a blob in the store, which is asked first, and notes on it which repository has it. @throws NotFound, Unavailable, … */
export async function fetchBlob(ctx: Context, descriptor: ImageDescriptor, options: FetchOptions): Promise<void> {
  const { content, resolver, reference, progress } = options
  const { mediaType, digest } = descriptor
  if (mediaType === 'application/vnd.docker.distribution.manifest.v1+prettyjws') {
    throw new InvalidArgumentError(`${digest}: schema 1 image manifests are no longer supported`)
  }
  const outcome = await storeBlob(ctx, content, descriptor, {
    ref: refOf(descriptor),
    labels: firstSource(reference),
    async *bytes(offset) {
      let bytes = offset
      for await (const piece of await resolver.fetch(reference, descriptor, { offset, signal: ctx.signal })) {
        bytes += piece.length
        progress.reached(descriptor, bytes)
        yield piece
      }
    },
  })
  if (outcome === 'stored') {
    progress.complete(descriptor)
  } else {
    progress.exists(descriptor)
    await noteSource(ctx, content, digest, reference)
  }
}

const sourcePrefix = 'containerd.io/distribution.source.'

/** The repositories of a host that are known to have a blob with these labels. */
export function sourcesOf(labels: Labels, host: string): string[] {
  return repositories(labels[sourceLabel(host)])
}

function firstSource(reference: string): Labels {
  const { host, repository } = parseReference(reference)
  return { [sourceLabel(host)]: repository }
}

/** A registry may later take the blob over from that repository instead of having it uploaded. */
async function noteSource(ctx: Context, content: ContentStore, digest: string, reference: string): Promise<void> {
  const { host, repository } = parseReference(reference)
  const label = sourceLabel(host)
  const { labels } = await content.info(ctx, digest)
  const known = repositories(labels[label])
  if (known.includes(repository)) return
  const added = { [label]: [...known, repository].sort().join(',') }
  try {
    validateLabels(added, digest)
  } catch (error) {
    if (!isInvalidArgument(error)) throw error
    // A blob that everybody has: one more is of no use.
    return
  }
  await addLabels(ctx, content, digest, added)
}

function repositories(label = ''): string[] {
  return label.split(',').filter((repository) => repository !== '')
}

/** Hosts are noted without their port, as containerd does. */
function sourceLabel(host: string): string {
  return `${sourcePrefix}${host.replace(/:\d+$/, '')}`
}
