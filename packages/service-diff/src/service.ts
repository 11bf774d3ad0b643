import { DiffDefinition } from '@containerd-ts/api/containerd/services/diff/v1/diff'
import type { Descriptor as WireDescriptor } from '@containerd-ts/api/containerd/types/descriptor'
import {
  type BoundService,
  bindService,
  type Context,
  type Descriptor,
  type Differ,
  InvalidArgumentError,
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
      const applied = await differ.apply(ctx, fromWire(request.diff), request.mounts, {
        payloads: request.payloads,
        syncFs: request.syncFs,
      })
      return { applied: toWire(applied) }
    },
    async diff(ctx, request) {
      authorize(ctx)
      const descriptor = await differ.compare(ctx, request.left, request.right, {
        labels: request.labels,
        ...(request.mediaType !== '' && { mediaType: request.mediaType }),
        ...(request.ref !== '' && { ref: request.ref }),
        ...(request.sourceDateEpoch && { sourceDateEpoch: request.sourceDateEpoch }),
      })
      return { diff: toWire(descriptor) }
    },
  })
}

function fromWire({ mediaType, digest, size, annotations }: WireDescriptor): Descriptor {
  return { mediaType, digest, sizeBytes: size, annotations }
}

function toWire({ mediaType, digest, sizeBytes, annotations }: Descriptor): WireDescriptor {
  return { mediaType, digest, size: sizeBytes, annotations: { ...annotations } }
}
