import type { Endpoint, RegistryRequest } from './endpoint.js'
import type { Reference } from './reference.js'

/** What a name points to in a registry. */
export interface RemoteDescriptor {
  mediaType: string
  digest: string
  /** Negative when it is not known. */
  sizeBytes: number
}

/** A reference and the hosts that are asked for it. */
export interface Remote {
  /** As it was given. */
  name: string
  reference: Reference
  /** Mirrors first. */
  endpoints: readonly Endpoint[]
  signal: AbortSignal
}

const manifestTypes = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
])

/** The types that a registry is asked for when it is not known what a name is. */
export const acceptedTypes = [...manifestTypes, '*/*'].join(', ')

/** True for what a registry keeps as manifest; all else is a blob. */
export function isManifest(mediaType: string): boolean {
  return manifestTypes.has(mediaType)
}

/** What all requests about a reference have in common. */
export function requestFor({ name, reference, signal }: Remote, actions: 'pull' | 'pull,push', last: boolean) {
  return {
    reference: name,
    namespace: reference.host,
    scopes: [`repository:${reference.repository}:${actions}`],
    last,
    signal,
  } satisfies Partial<RegistryRequest>
}
