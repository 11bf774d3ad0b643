/** The client side of the OCI distribution protocol: names to descriptors, bytes from and to registries. */
export type { Credentials, CredentialsRequest } from './credentials.js'
export { type HostConfiguration, type HostTls, hostConfigurations } from './hosts.js'
export { parseReference, type Reference } from './reference.js'
export {
  createResolver,
  type FetchOptions,
  type PushOptions,
  type RemoteDescriptor,
  type RequestEvent,
  type Resolver,
  type ResolverOptions,
} from './resolver.js'
