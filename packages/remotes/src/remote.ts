import { documentTypes } from '@containerd-ts/images'
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

/** The types that a registry is asked for when it is not known what a name is. */
export const acceptedTypes = [...documentTypes, '*/*'].join(', ')

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
