import type { Descriptor as WireDescriptor } from '@containerd-ts/api/containerd/types/descriptor'
import type { Descriptor } from './metadata.js'

/** A descriptor as the API has it. */
export function toWireDescriptor({ mediaType, digest, sizeBytes, annotations }: Descriptor): WireDescriptor {
  return { mediaType, digest, size: sizeBytes, annotations: { ...annotations } }
}

/** A descriptor of the API; one that is not there is one of empty fields. */
export function fromWireDescriptor(descriptor: WireDescriptor | undefined): Descriptor {
  const { mediaType = '', digest = '', size = 0, annotations = {} } = descriptor ?? {}
  return { mediaType, digest, sizeBytes: size, annotations }
}
