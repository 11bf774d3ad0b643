import { DiffDefinition } from '@containerd-ts/api/containerd/services/diff/v1/diff'
import {
  type BoundService,
  bindService,
  type Context,
  type Differ,
  fromWireDescriptor,
  InvalidArgumentError,
  toWireDescriptor,
} from '@containerd-ts/interface'

/** What a Diff service serves. */
export interface DiffServiceOptions {
  differ: Differ
  /** Called before each operation; throws when the call may not be served. */
  authorize?: (ctx: Context) => void
}

/** A differ as the gRPC service `containerd.services.diff.v1.Diff`. */
export function diffServiceOf({ differ, authorize = () => {} }: DiffServiceOptions): BoundService {
  return bindService(DiffDefinition, {
    async apply(ctx, request) {
      authorize(ctx)
      if (request.diff === undefined) throw new InvalidArgumentError('diff must be set')
      const applied = await differ.apply(ctx, fromWireDescriptor(request.diff), request.mounts, {
        payloads: request.payloads,
        syncFs: request.syncFs,
      })
      return { applied: toWireDescriptor(applied) }
    },
    async diff(ctx, request) {
      authorize(ctx)
      const descriptor = await differ.compare(ctx, request.left, request.right, {
        labels: request.labels,
        ...(request.mediaType !== '' && { mediaType: request.mediaType }),
        ...(request.ref !== '' && { ref: request.ref }),
        ...(request.sourceDateEpoch && { sourceDateEpoch: request.sourceDateEpoch }),
      })
      return { diff: toWireDescriptor(descriptor) }
    },
  })
}
